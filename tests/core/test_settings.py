import dataclasses
import json

import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.settings import (
    Study,
    make_study,
    parse_setting,
    read_settings,
    study_from,
)
from thyroid_fl.tasks import TASKS


def test_a_study_survives_the_journey_to_a_hospital():
    study = make_study(preset="paper", split="vendor:GE Healthcare", rounds=7)

    assert study_from(study.to_json()) == study
    assert json.loads(study.to_json())["rounds"] == 7


def test_preset_paper_is_the_papers_size():
    study = make_study(preset="paper")

    assert (study.image_px, study.batch_size, study.norm) == (512, 32, "batch")
    assert (study.optimizer, study.learning_rate) == ("sgd", 1e-3)


def test_every_preset_makes_a_study():
    for name, task in TASKS.items():
        for preset in task.presets:
            assert make_study(task=name, preset=preset).preset == preset


def test_settings_override_the_preset_and_the_file(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('preset = "paper"\nrounds = 3\n')

    assert study_from(str(path)).rounds == 3
    assert make_study(**read_settings(path) | {"rounds": 4}).rounds == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"rouds": 3},
            "unknown setting 'rouds'. Did you mean 'rounds'? Known settings",
        ),
        ({"rounds": "3"}, "rounds is '3'; expected a value of type int"),
        ({"rounds": True}, "rounds is True"),
        ({"rounds": 0}, "rounds is 0; expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"preset": "huge"}, "no preset 'huge'"),
        ({"task": "grading"}, "no task 'grading'; expected one of: detection, segm"),
        ({"flips": "up"}, "flips is 'up'; expected one of: none, horizontal, both"),
        ({"split": "vendor"}, "split is 'vendor'; expected patient"),
        ({"split": "random"}, "split is 'random'"),
        ({"norm": "batch", "image_px": 32}, "use at least 64, or norm = 'weight'"),
        ({"norm": "group", "image_px": 63}, "use at least 64, or norm = 'weight'"),
        ({"fold": 3, "n_folds": 2}, "fold is 3 of n_folds 2"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_remedy(settings, message):
    with pytest.raises(ConfigError) as raised:
        make_study(**settings)

    assert message in str(raised.value)


def test_an_unreadable_study_is_refused(tmp_path):
    broken = tmp_path / "study.toml"
    broken.write_text("rounds = = 3")

    for path in (broken, tmp_path / "absent.toml"):
        with pytest.raises(ConfigError, match="cannot read the study"):
            read_settings(path)


def test_a_setting_from_the_command_line_gets_its_fields_type():
    assert parse_setting("learning_rate=1e-2") == ("learning_rate", 0.01)
    assert parse_setting("norm=batch") == ("norm", "batch")
    for text in ("rounds", "rounds=many", "rouds=3"):
        with pytest.raises(ConfigError):
            parse_setting(text)


def test_a_study_is_a_value():
    study = make_study()

    assert hash(study) == hash(make_study())
    with pytest.raises(dataclasses.FrozenInstanceError):
        study.rounds = 3
    assert isinstance(study, Study)
