"""What a hospital keeps between rounds, on its own disk.

``STATE/<study>/<round>.safetensors`` holds it as it was after a round: BatchNorm layers
that stay at home (FedBN), and what rounding cut off the last update (error feedback).
A round that is asked for again starts from the round before, so that a centre which
goes on from its checkpoint gets the same model. The last two rounds and the best one
are kept.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from thyroid_fl.errors import ConfigError
from thyroid_fl.files import write_whole
from thyroid_fl.packing import Arrays

N_KEPT = 2
LAYER, CUT_OFF = "layer/", "cut-off/"
"""What the names of a state begin with: layers that stay, and what rounding cut off."""


def load_state(folder: Path, until_round: int) -> Arrays:
    """Return what was kept after the last round up to this one; empty if nothing was.

    Args:
        folder: of one study, see `study_folder`.
        until_round: a hospital that missed it has the state of an earlier one.
    """
    known = [number for number in _rounds(folder) if number <= until_round]
    return load_file(_file(folder, max(known))) if known else {}


def save_state(
    folder: Path,
    server_round: int,
    state: Mapping[str, NDArray[Any]],
    best_round: int,
) -> None:
    """Keep the state after a round, with that of the round before and of the best.

    Later rounds than this one are of a course that the centre has given up.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = {k: np.ascontiguousarray(a) for k, a in state.items()}
    write_whole(_file(folder, server_round), lambda path: save_file(kept, path))
    rounds = [number for number in _rounds(folder) if number <= server_round]
    best = [number for number in rounds if number <= best_round]
    needed = {*rounds[-N_KEPT:], *best[-1:]}
    for number in _rounds(folder):
        if number not in needed:
            _file(folder, number).unlink()


def layers_of(state: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the layers of the hospital's own, by their names in the model."""
    own = ((k.removeprefix(LAYER), a) for k, a in state.items() if k.startswith(LAYER))
    return dict(own)


def simulated_folder(out: Path, hospital: str) -> Path:
    """Return where a hospital of a simulation keeps its states: in the study's folder.

    Args:
        out: the folder that the centre writes to.
        hospital: its name, which may hold any letter.
    """
    return out / "state" / ("hospital-" + quote(hospital, safe=""))


def study_folder(states: Path, study_id: str) -> Path:
    """Return where the state of one study lies.

    Args:
        states: the hospital's folder for the states of all studies.
        study_id: the centre's name for a study; it must not lead out of the folder.

    Raises:
        ConfigError: it is no identifier.
    """
    if not re.fullmatch(r"[0-9a-f]{8,64}", study_id):
        raise ConfigError("the study's identifier is not 8 to 64 hexadecimal digits")
    return states / study_id


def _rounds(folder: Path) -> list[int]:
    names = (path.stem for path in folder.glob("*.safetensors"))
    return sorted(int(name) for name in names if name.isdecimal())


def _file(folder: Path, server_round: int) -> Path:
    return folder / f"{server_round:04d}.safetensors"
