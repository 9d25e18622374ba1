"""A real federation of DenseNet121 on one machine: bytes on the wire, seconds, memory.

``thyroid-server`` and ``thyroid-client`` with TLS and node authentication, and beside
them a stock Flower app (`stock_app.py`) on the same SuperLink with Flower's own
``flower-supernode``. Hospitals connect through a relay that counts bytes, where nginx
would stand, so TLS, HTTP and the polls for work are counted, too.
"""

import contextlib
import hashlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from counting import Memory, Relay
from flwr.app import ArrayRecord
from flwr.cli.build import build_fab_from_files
from flwr.supercore.fab import Fab
from hospitals import free_port, write_hospital

from thyroid_fl.client.supernode.joining import join
from thyroid_fl.errors import ConfigError
from thyroid_fl.server.centre.control import control, runs, start_run
from thyroid_fl.server.centre.folder import Centre
from thyroid_fl.server.centre.hospitals import admit, hospitals
from thyroid_fl.server.centre.provision import provision
from thyroid_fl.server.centre.studies import start_study
from thyroid_fl.settings import Study
from thyroid_fl.tasks import build_model

PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 300.0
LONGEST_RUN_S = 1200.0
PROJECT = """
[project]
name = "stock"
version = "1.0.0"
description = "FedAvg as in Flower's documentation"
license = "AGPL-3.0-or-later"
[tool.flwr.app]
publisher = "stock"
fab-include = ["stock_app.py"]
[tool.flwr.app.components]
serverapp = "stock_app:server_app"
clientapp = "stock_app:client_app"
[tool.flwr.app.config]
study = ""
out = ""
"""


class BrokenOffError(Exception):
    """A run that did not come to its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one round took, of all hospitals together."""

    down_bytes: int
    up_bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Federation:
    """A centre that runs, its hospitals' folders, and what is counted."""

    centre: Centre
    relay: Relay
    memory: Memory
    folder: Path
    sites: tuple[Path, ...]


@contextlib.contextmanager
def federation(folder: Path, study: Study, n_hospitals: int) -> Iterator[Federation]:
    """Run a new centre with so many hospitals admitted, none of them connected yet."""
    folder.mkdir(parents=True)
    settings = folder / "study.toml"
    settings.write_text(_toml(study))
    superlink, front = free_port(), free_port()
    address = f"127.0.0.1:{front}"
    centre = provision(
        settings, folder / "centre", address=address, superlink_port=superlink
    )
    relay, memory = Relay(port=front, target=superlink), Memory()
    server = [PROGRAMS / "thyroid-server", "start", "--centre", centre.root]
    with relay.running(), running(server, folder / "start.log"):
        _wait(lambda: "is ready" in (folder / "start.log").read_text(), "the centre")
        sites = []
        for number in range(1, n_hospitals + 1):
            name = f"H{number:03d}"
            manifest = write_hospital(folder / "data" / name, name, number)
            made = join(centre.root / "kit", name, manifest, folder / name)
            admit(centre, name, made.public_key)
            sites.append(folder / name)
        yield Federation(
            centre=centre, relay=relay, memory=memory, folder=folder, sites=tuple(sites)
        )


def stock_bytes(study: Study) -> float:
    """Return the records' bytes of stock FedAvg, both directions, a hospital and round.

    Two models down and one up; names and shapes that travel with them are not counted.
    """
    record = ArrayRecord(build_model(study).state_dict())
    return 3.0 * sum(len(array.data) for array in record.values())


def run_ours(made: Federation, study: Study, name: str) -> tuple[list[Round], float]:
    """Run a study over `thyroid-client`; return its rounds, and the record's bytes.

    The second number is the records' bytes of a round and hospital, by traffic.csv.
    """
    with contextlib.ExitStack() as stack:
        for site in made.sites:
            client = [PROGRAMS / "thyroid-client", "run", "--site", site]
            stack.enter_context(running(client, site / "client.log"))
        _wait_for_hospitals(made)
        record = start_study(made.centre, study, name, "training")
        out = made.centre.run(name)

        def last_round() -> int:
            path = out / "checkpoint" / "checkpoint.json"
            return json.loads(path.read_text())["last_round"] if path.exists() else -1

        rounds = _observe(made, study.rounds, last_round, record.run_ids[-1])
    traffic = pd.read_csv(out / "traffic.csv")
    traffic = traffic[traffic["step"].isin(["train", "evaluate"])]
    traffic = traffic[traffic["round"] >= 1]
    total = traffic[["sent_bytes", "received_bytes"]].to_numpy().sum()
    return rounds, float(total) / len(made.sites) / study.rounds


def run_stock(made: Federation, study: Study) -> list[Round]:
    """Run the stock app over Flower's own SuperNodes; return its rounds."""
    app = Path(__file__).with_name("stock_app.py").read_bytes()
    content, _ = build_fab_from_files(
        {"pyproject.toml": PROJECT.encode(), "stock_app.py": app}
    )
    bundle = Fab(hashlib.sha256(content).hexdigest(), content, {})
    out = made.folder / "stock"
    out.mkdir()
    with contextlib.ExitStack() as stack:
        for site in made.sites:
            manifest = made.folder / "data" / site.name / "manifest.parquet"
            node = [
                PROGRAMS / "flower-supernode", "--superlink", made.centre.address,
                "--root-certificates", made.centre.root / "kit" / "ca.crt",
                "--auth-supernode-private-key", site / "hospital.key",
                "--host", "127.0.0.1", "--port", free_port(),
                "--node-config", f"manifest='{manifest}'",
            ]  # fmt: skip
            home = site / "stock-home"
            stack.enter_context(running(node, site / "stock.log", FLWR_HOME=str(home)))
        _wait_for_hospitals(made)
        config = {"study": study.to_json(), "out": str(out)}
        with control(made.centre) as client:
            run_id = start_run(client, bundle, config)

        def last_round() -> int:
            with contextlib.suppress(OSError, ValueError):
                return int((out / "last_round").read_text())
            return -1

        return _observe(made, study.rounds, last_round, run_id)


@contextlib.contextmanager
def running(command: list[object], log: Path, **variables: str) -> Iterator[None]:
    """Run a program until the end of the block, with all that it has started."""
    calm = {"OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0"}
    calm |= {"FLWR_DISABLE_UPDATE_CHECK": "1"}
    path = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    with log.open("ab") as file:
        started = psutil.Popen(
            [str(part) for part in command],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | calm | path | variables,
        )
    try:
        yield
    finally:
        children = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = started.children(recursive=True)
            started.terminate()
        _, alive = psutil.wait_procs([started, *children], timeout=30)
        for process in alive:
            process.kill()


def _observe(
    made: Federation, n_rounds: int, last_round: Callable[[], int], run_id: int
) -> list[Round]:
    """Wait for the run's end; return what went over the relay in each round."""
    marks: list[tuple[float, int, int]] = []
    asked = time.monotonic()
    end = asked + LONGEST_RUN_S
    while len(marks) <= n_rounds:
        if time.monotonic() > end:
            raise BrokenOffError(f"no {n_rounds} rounds within {LONGEST_RUN_S:.0f} s")
        while len(marks) <= last_round():
            relay = made.relay
            marks.append((time.monotonic(), relay.down_bytes, relay.up_bytes))
        time.sleep(0.1)
        if time.monotonic() - asked > 10:
            asked = time.monotonic()
            _refuse_failed(made, run_id)
    _wait(lambda: _refuse_failed(made, run_id) == "finished", "the end of the run")
    return [
        Round(down_bytes=d2 - d1, up_bytes=u2 - u1, seconds=t2 - t1)
        for (t1, d1, u1), (t2, d2, u2) in pairwise(marks)
    ]


def _refuse_failed(made: Federation, run_id: int) -> str:
    try:
        with control(made.centre) as client:
            run = runs(client)[run_id]
    except ConfigError:  # stock's objects lock the SuperLink's database for seconds
        return "unknown"
    if run.status == "finished" and run.outcome != "completed":
        raise BrokenOffError(f"{run.outcome}: {run.details}")
    return run.status


def _wait_for_hospitals(made: Federation) -> None:
    def all_online() -> bool:
        return all(one.state == "online" for one in hospitals(made.centre))

    _wait(all_online, "the hospitals")


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: nothing after {PATIENCE_S:g} s")
        time.sleep(0.5)


def _toml(study: Study) -> str:
    values = json.loads(study.to_json())
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def mean_mb(rounds: list[Round], n_hospitals: int) -> tuple[float, float]:
    """Return megabytes down and up, a hospital and round; NaN without a round."""
    if not rounds:
        return math.nan, math.nan
    down = np.mean([one.down_bytes for one in rounds]) / n_hospitals / 1e6
    up = np.mean([one.up_bytes for one in rounds]) / n_hospitals / 1e6
    return float(down), float(up)
