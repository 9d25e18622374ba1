"""A study under Flower's own simulation runtime (Ray), as ``flwr run`` starts it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import psutil

from thyroid_fl.settings import Study

BIN = Path(sys.executable).parent
PYPROJECT = """
[project]
name = "ray-study"
version = "0"
[tool.flwr.app]
publisher = "thyroidfl"
fab-include = ["*.py"]
[tool.flwr.app.components]
serverapp = "thyroid_fl.server.app:app"
clientapp = "{client}"
[tool.flwr.app.config]
study = ""
out = ""
"""
CONNECTION = """
[superlink]
default = "simulation"
[superlink.simulation]
address = ":local:"
"""


def run_under_ray(study: Study, n_hospitals: int, out: Path, *, noop: bool) -> float:
    """Run a study over Ray; return the seconds that its rounds took, start-up not."""
    with tempfile.TemporaryDirectory() as folder:
        app, home = Path(folder) / "app", Path(folder) / "home"
        app.mkdir()
        home.mkdir()
        client = "noop:noop_app" if noop else "thyroid_fl.client.app:app"
        (app / "pyproject.toml").write_text(PYPROJECT.format(client=client))
        shutil.copy(Path(__file__).with_name("noop.py"), app)
        (home / "config.toml").write_text(CONNECTION)
        (app / "run.toml").write_text(f"study = '{study.to_json()}'\nout = '{out}'\n")
        try:
            subprocess.run(
                [BIN / "flwr", "run", ".", "simulation", "--stream",
                 "--run-config", "run.toml", "--federation-config",
                 f"num-supernodes={n_hospitals} client-resources-num-cpus=1"],
                cwd=app,
                env=os.environ
                | {
                    "FLWR_HOME": str(home),
                    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
                    "PATH": f"{BIN}:{os.environ['PATH']}",
                },
                check=True,
                capture_output=True,
                text=True,
            )  # fmt: skip
        finally:
            _stop_superlink(home)
    return float(pd.read_csv(out / "history.csv")["seconds"].sum())


def _stop_superlink(home: Path) -> None:
    """End the SuperLink that ``flwr run`` started here and left running."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(home) in part for part in process.info["cmdline"] or ()):
            process.terminate()
            process.wait(30)
