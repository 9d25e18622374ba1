"""A study's progress on disk: after each round, whole, or as it was the round before.

``OUT/checkpoint/`` holds a model for the last and for the best round, the strategy's
state, and ``checkpoint.json``, which names the rounds. The JSON is replaced last and in
one step, so that a kill at any point leaves the files of one round or of the next.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from flwr.app import ArrayRecord
from safetensors.numpy import load_file, save_file

from thyroid_fl.errors import ConfigError
from thyroid_fl.files import write_whole
from thyroid_fl.packing import Arrays
from thyroid_fl.settings import Study
from thyroid_fl.strategies.arrays import arrays_of_record, record_of

Row = dict[str, float]

FREE_SETTINGS = ("device", "threads", "min_hospitals", "wait_s", "round_deadline_s")
"""Settings that may change when a study is continued: the model does not depend on
them, or (device) only by rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a study has come: what the next round needs, and what is shown."""

    study_id: str
    """By which the hospitals know the study again."""
    last_round: int
    """The last finished round; 0: only the initial model was validated."""
    best_round: int
    """The best round so far by ``select_by``; 0: none yet."""
    history: tuple[Row, ...]
    """One row a round, from round 0."""
    arrays: ArrayRecord
    """The model after the last round."""
    strategy_state: Arrays
    """What the strategy keeps between rounds."""


def save_progress(out: Path, study: Study, progress: Progress) -> None:
    """Write the progress, so that `load_progress` gives it back whatever happens.

    Raises:
        OSError: the disk is full or the folder cannot be written; the progress of the
            round before is still there.
    """
    folder = out / "checkpoint"
    folder.mkdir(parents=True, exist_ok=True)
    model = model_file(out, progress.last_round)
    state = _state_file(out, progress.last_round)
    write_whole(model, lambda path: save_file(arrays_of_record(progress.arrays), path))
    write_whole(state, lambda path: save_file(progress.strategy_state, path))
    text = json.dumps(
        {
            "study_id": progress.study_id,
            "last_round": progress.last_round,
            "best_round": progress.best_round,
            "history": progress.history,
            "arrays": list(progress.arrays),
            "study": json.loads(study.to_json()),
        },
        indent=1,
    )
    write_whole(folder / "checkpoint.json", lambda path: path.write_text(text))
    needed = {model, state, model_file(out, progress.best_round)}
    for path in folder.glob("*.safetensors*"):
        if path not in needed:
            path.unlink()


def load_progress(out: Path, study: Study) -> Progress | None:
    """Return the progress of this study in the folder; None if there is none.

    Raises:
        ConfigError: the folder holds another study.
    """
    path = out / "checkpoint" / "checkpoint.json"
    if not path.exists():
        if (out / "model.safetensors").exists():
            raise ConfigError(
                f"{out} holds a model but not the study that made it: choose another "
                "folder"
            )
        return None
    saved = json.loads(path.read_text())
    _check_same(out, saved["study"], json.loads(study.to_json()))
    arrays = load_file(model_file(out, saved["last_round"]))
    return Progress(
        study_id=saved["study_id"],
        last_round=saved["last_round"],
        best_round=saved["best_round"],
        history=tuple(saved["history"]),
        # In the order of before, which safetensors does not keep.
        arrays=record_of({name: arrays[name] for name in saved["arrays"]}),
        strategy_state=load_file(_state_file(out, saved["last_round"])),
    )


def best_model(out: Path, progress: Progress) -> Arrays:
    """Return the model of the best round, in the order of the study's model."""
    arrays = load_file(model_file(out, progress.best_round))
    return {name: arrays[name] for name in progress.arrays}


def model_file(out: Path, server_round: int) -> Path:
    """Return where a round's model is kept, if it is the last or the best."""
    return out / "checkpoint" / f"model-{server_round:04d}.safetensors"


def _state_file(out: Path, server_round: int) -> Path:
    return out / "checkpoint" / f"strategy-{server_round:04d}.safetensors"


def _check_same(out: Path, saved: dict[str, object], wanted: dict[str, object]) -> None:
    differing = [
        f"{name} was {saved.get(name)!r}, is now {wanted.get(name)!r}"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name) and name not in FREE_SETTINGS
    ]
    if differing:
        raise ConfigError(
            f"{out} holds another study ({'; '.join(differing)}): choose another "
            "folder, or use the settings of before to continue"
        )
