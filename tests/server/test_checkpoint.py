import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.clientapp import ClientApp
from safetensors.numpy import load_file

from thyroid_fl.errors import ConfigError
from thyroid_fl.files import write_whole
from thyroid_fl.server.checkpoint import Progress

Run = Callable[..., Progress]
MakeApp = Callable[..., ClientApp]


class KilledError(BaseException):
    """Passes through the grid, which turns every Exception into an error reply."""


def killer(at_round: int) -> Callable[[int, int], None]:
    def fault(hospital: int, server_round: int) -> None:
        if (hospital, server_round) == (2, at_round):
            raise KilledError

    return fault


def same_model(first: Path, second: Path) -> None:
    one, two = (load_file(p / "model.safetensors") for p in (first, second))
    assert one.keys() == two.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])


def without_seconds(progress: Progress) -> list[dict[str, float]]:
    return [{k: v for k, v in r.items() if k != "seconds"} for r in progress.history]


@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedadam"])
@pytest.mark.parametrize("at_round", [1, 2, 4])
def test_killed_and_resumed_equals_uninterrupted(
    run: Run, toy_app: MakeApp, tmp_path: Path, strategy: str, at_round: int
) -> None:
    whole = run(out="whole", strategy=strategy)

    with pytest.raises(KilledError):
        run(toy_app(killer(at_round)), strategy=strategy)
    resumed = run(strategy=strategy)

    same_model(tmp_path / "out", tmp_path / "whole")
    assert resumed.best_round == whole.best_round
    np.testing.assert_equal(without_seconds(resumed), without_seconds(whole))
    for name, array in whole.strategy_state.items():
        np.testing.assert_array_equal(resumed.strategy_state[name], array)


def test_a_kill_between_any_two_writes_leaves_a_study_that_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(out="whole", strategy="fedadam", rounds=2)
    n_writes = 3 * (2 + 1) + 3  # model, state, JSON of rounds 0 to 2; the three results

    for k in range(n_writes):
        left = iter(range(k))

        def counted(path: Path, write: object, left: object = left) -> None:
            if next(left, None) is None:
                path.with_name(path.name + ".tmp").write_bytes(b"half")
                raise KilledError
            write_whole(path, write)

        out = tmp_path / f"killed-{k}"
        for module in ("checkpoint", "model"):
            monkeypatch.setattr(f"thyroid_fl.server.{module}.write_whole", counted)
        with pytest.raises(KilledError):
            run(out=out.name, strategy="fedadam", rounds=2)
        for module in ("checkpoint", "model"):
            monkeypatch.setattr(f"thyroid_fl.server.{module}.write_whole", write_whole)
        assert not (out / "model.safetensors").exists()

        run(out=out.name, strategy="fedadam", rounds=2)

        same_model(out, tmp_path / "whole")


def test_a_process_that_dies_is_continued(run: Run, tmp_path: Path) -> None:
    run(out="whole")
    script = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
from conftest import make_app, run_study
def die(hospital, server_round):
    if (hospital, server_round) == (3, 3):
        os._exit(9)
run_study(pathlib.Path(sys.argv[2]), make_app(die))
"""
    here = str(Path(__file__).parent)
    out = tmp_path / "out"

    dead = subprocess.run([sys.executable, "-c", script, here, str(out)], check=False)

    assert dead.returncode == 9
    saved = json.loads((out / "checkpoint" / "checkpoint.json").read_text())
    assert saved["last_round"] == 2
    run()
    same_model(out, tmp_path / "whole")


def test_a_finished_study_returns_at_once(run: Run, toy_app: MakeApp) -> None:
    whole = run()

    def never(hospital: int, server_round: int) -> None:
        raise AssertionError("a finished study asked a hospital")

    again = run(toy_app(never))

    assert again.best_round == whole.best_round
    np.testing.assert_equal(again.history, whole.history)
    np.testing.assert_array_equal(again.arrays["w"].numpy(), whole.arrays["w"].numpy())


def test_another_study_is_refused(run: Run, toy_app: MakeApp) -> None:
    with pytest.raises(KilledError):
        run(toy_app(killer(2)))

    with pytest.raises(ConfigError, match=r"seed was 1, is now 2.*another folder"):
        run(seed=2)
    run(threads=1, device="cpu", round_deadline_s=9.0)
    with pytest.raises(ConfigError, match="rounds was 4, is now 5"):
        run(rounds=5)


def test_a_model_of_unknown_origin_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    run()
    shutil.rmtree(tmp_path / "out" / "checkpoint")

    with pytest.raises(ConfigError, match="choose another folder"):
        run()


def test_only_the_last_and_the_best_model_are_kept(run: Run, tmp_path: Path) -> None:
    progress = run(rounds=4)

    kept = sorted(p.name for p in (tmp_path / "out" / "checkpoint").iterdir())
    expected = {f"model-{k:04d}.safetensors" for k in (4, progress.best_round)}
    assert kept == sorted({"checkpoint.json", "strategy-0004.safetensors", *expected})


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail(unfinished: Path) -> None:
        unfinished.write_text("aft")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_whole(path, fail)

    assert path.read_text() == "before"
