import dataclasses
import re
from pathlib import Path

from thyroid_fl.settings import Study, make_study

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_of_settings_has_every_field_with_its_defaults():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", PAGE.read_text(), re.M)

    def shown(value):
        return f"`{value}`" if value != "" else "(empty)"

    presets = [make_study(preset=name) for name in ("small", "paper")]
    expected = [
        (field.name, *(shown(getattr(study, field.name)) for study in presets))
        for field in dataclasses.fields(Study)
    ]
    assert rows == expected
