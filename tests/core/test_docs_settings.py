import dataclasses
import re
from pathlib import Path

from thyroid_fl.settings import Study, make_study
from thyroid_fl.tasks import TASKS

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
PRESETS = ("small", "paper")


def shown(study, field):
    value = getattr(study, field)
    return f"`{value}`" if value != "" else "(empty)"


def rows(heading, n_values):
    """The names and values of the table below a heading of the page."""
    part = PAGE.read_text().partition(heading)[2].partition("\n## ")[0]
    row = r"^\| `(\w+)` \|" + r" (.*?) \|" * n_values
    return re.findall(row, part, re.M)


def test_the_page_of_settings_has_every_field_with_its_defaults():
    studies = [make_study(preset=name) for name in PRESETS]

    assert rows("# The settings of a study", 2) == [
        (field.name, *(shown(study, field.name) for study in studies))
        for field in dataclasses.fields(Study)
    ]


def test_the_page_of_settings_has_what_the_presets_of_every_task_set():
    studies = [make_study(task=task, preset=name) for task in TASKS for name in PRESETS]
    preset = {
        name for task in TASKS.values() for p in task.presets.values() for name in p
    }

    found = rows("## The presets of the tasks", len(studies))

    assert found == [
        (field.name, *(shown(study, field.name) for study in studies))
        for field in dataclasses.fields(Study)
        if field.name in preset
    ]
