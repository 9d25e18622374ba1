"""Faults on real processes: three hospitals, and each fault is a part of a run.

A hospital is made to misbehave by ``misbehaving/sitecustomize.py``, which its
processes import. Every model is compared with the same study in one process, where
those who failed in a round raise an exception: it must be the same to the bit.
"""

import json
import os
import re
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import pytest
from safetensors.numpy import load_file

from thyroid_fl.client.app import app as client_app
from thyroid_fl.client.audit import read_log
from thyroid_fl.client.supernode.joining import join
from thyroid_fl.requests import Request
from thyroid_fl.server.app import app as server_app
from thyroid_fl.server.centre.control import is_up
from thyroid_fl.server.centre.hospitals import admit, hospitals
from thyroid_fl.server.centre.studies import read_record, standings, start_study
from thyroid_fl.server.centre.words import lines_of, standing_words
from thyroid_fl.server.hospitals import LATE
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.cohort.pictures import write_hospitals
from thyroid_fl.simulation.grid import run_in_process

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
NAMES = ("H001", "H002", "H003")
PATIENCE_S = 900.0
DEADLINE_S = 120.0
"""Of a round. The straggler costs it once; a killed process is noticed after 60 s."""
STUDY = {
    "image_px": 64,
    "split": "patient",
    "local_epochs": 1,
    "batch_size": 4,
    "select_by": "last",
    "device": "cpu",
    "threads": 1,
    "min_hospitals": 1,
    "wait_s": 120,
    "round_deadline_s": DEADLINE_S,
}
BAD_REPLIES = make_study(**STUDY, rounds=4)
KILLED = make_study(**STUDY, rounds=3, download="bf16", upload="int8")
LONELY = make_study(**STUDY | {"rounds": 1, "wait_s": 1, "min_hospitals": 4})
SECRETS = (b"ward-7", b"tran-thi-483")
"""Parts of the path that ``sitecustomize.py`` has in its exception."""


@dataclass
class Hospital:
    """A hospital whose program runs, and what it is told to do wrong."""

    name: str
    manifest: Path
    site: Path
    faults: Path
    """Its folder for ``sitecustomize.py``."""
    program: subprocess.Popen[bytes] | None = None
    """``thyroid-client run``."""

    def plan(self, **faults: str) -> None:
        """Misbehave from now on: ``r2="nan"`` sends NaN in round 2."""
        plan = {number.removeprefix("r"): fault for number, fault in faults.items()}
        unfinished = self.faults / "plan.json.new"
        unfinished.write_text(json.dumps(plan))
        unfinished.replace(self.faults / "plan.json")

    def holding(self, number: int) -> int:
        """Return the process that holds its training of a round; 0: none yet."""
        path = self.faults / f"holding-{number}"
        return int((path.exists() and path.read_text()) or 0)

    def go(self, number: int) -> None:
        """End the holding of a round."""
        (self.faults / f"go-{number}").touch()

    def forget(self) -> None:
        """Behave from now on, and hold again when told to."""
        self.plan()
        for path in [*self.faults.glob("holding-*"), *self.faults.glob("go-*")]:
            path.unlink()

    def processes(self) -> list[psutil.Process]:
        """Return the process of its SuperNode, and those that it has started."""
        (node,) = psutil.Process(self.program.pid).children()
        return [node, *node.children(recursive=True)]

    def times_trained(self, run_ids: tuple[int, ...]) -> dict[int, int]:
        """Return how often it answered a training of these runs, by round."""
        done = [
            event["round"]
            for event in read_log(self.site / "logs" / "audit.jsonl")
            if event["event"] == "answered" and event["asked"] == "train"
            if int(event["run_id"]) in run_ids
        ]
        return {number: done.count(number) for number in set(done)}


@dataclass(frozen=True, kw_only=True)
class Federation:
    """A centre, and three hospitals that are connected to it."""

    centre: object
    hospitals: tuple[Hospital, ...]
    stack: ExitStack
    wait: object

    def start_hospital(self, one: Hospital) -> None:
        """Start its ``thyroid-client run``."""
        path = os.pathsep.join(
            [str(HERE / "misbehaving"), os.environ.get("PYTHONPATH", "")]
        )
        one.program = self.stack.enter_context(
            self.centre.start_program(
                one.name, "thyroid-client", "run", "--site", one.site,
                PYTHONPATH=path.rstrip(os.pathsep), THYROID_TEST_FAULTS=str(one.faults),
            )
        )  # fmt: skip

    def start_study(self, name: str, study: Study) -> None:
        """Start a study and do not wait for its end."""
        start_study(self.centre.centre, study, name, "training")

    def out(self, name: str) -> Path:
        return self.centre.centre.run(name)

    def participation(self, name: str) -> pd.DataFrame:
        """Return who took part so far; nobody before the first round is done."""
        path = self.out(name) / "participation.csv"
        if not path.exists():
            return pd.DataFrame(columns=["round", "hospital", "outcome", "reason"])
        return pd.read_csv(path)

    def trips(self, name: str) -> pd.DataFrame:
        """Return all requests so far."""
        return pd.read_csv(self.out(name) / "traffic.csv")

    def log(self, name: str) -> str:
        """Return what ``thyroid-server logs`` shows so far."""
        record = read_record(self.centre.centre, name)
        return "\n".join(lines_of(self.centre.centre, record, until_end=False))

    def status(self, name: str) -> str:
        """Return a study's line of ``thyroid-server status``."""
        found = {one.record.name: one for one in standings(self.centre.centre)}
        return standing_words(found[name])

    def wait_for_round(self, name: str, number: int) -> None:
        """Wait until a round has its mean."""
        self.wait(
            lambda: number in set(self.participation(name)["round"]),
            lambda: self.log(name),
            PATIENCE_S,
        )

    def wait_for_state(self, name: str, state: str) -> str:
        """Return a study's status once it is in a state."""
        return self.wait(
            lambda: (said := self.status(name)).startswith(f"{name}: {state}") and said,
            lambda: self.log(name),
            PATIENCE_S,
        )

    def resume(self, name: str) -> None:
        """Resume a study that is to finish now."""
        self.centre.done("resume", name, "--no-follow")
        self.wait_for_state(name, "finished")

    def wait_for_online(self, *names: str) -> None:
        """Wait until hospitals are connected."""

        def are_online() -> bool:
            states = {one.admission.name: one.state for one in self.states()}
            return all(states[name] == "online" for name in names)

        self.wait(are_online, lambda: str(self.states()), PATIENCE_S)

    def states(self) -> tuple:
        """Return the hospitals as the centre sees them."""
        return hospitals(self.centre.centre)

    def wait_for_holding(self, number: int, *hospitals: Hospital) -> None:
        """Wait until hospitals are in the midst of their training."""
        for one in hospitals:
            self.wait(
                lambda one=one: one.holding(number),
                lambda one=one: f"{one.name} does not train round {number}",
                PATIENCE_S,
            )

    def model(self, name: str) -> dict[str, bytes]:
        """Return the bits of a study's model."""
        return bits(self.out(name) / "model.safetensors")

    def simulated(self, name: str, folder: Path) -> dict[str, bytes]:
        """Return the model of the study in one process, the same replies missing."""
        rows, trips = self.participation(name), self.trips(name)
        failed = hospitals_and_rounds(rows[rows["outcome"] == "failed"])
        late = hospitals_and_rounds(trips[trips["outcome"] == LATE])
        names = {str(one.manifest): one.name for one in self.hospitals}

        def client(message, context):
            hospital = names[str(context.node_config["manifest"])]
            this = (hospital, Request.of(message.content).server_round)
            if message.metadata.message_type != "train" or this not in failed:
                return client_app(message, context)
            if this in late:  # it trained, and keeps what rounding cut off
                client_app(message, context)
            raise RuntimeError("its reply is missing")

        run_in_process(
            server_app,
            client,
            [
                {"manifest": str(one.manifest), "state": str(folder / one.name)}
                for one in self.hospitals
            ],
            {
                "study": read_record(self.centre.centre, name).study.to_json(),
                "out": str(folder / "out"),
                "test": False,
            },
        )
        return bits(folder / "out" / "model.safetensors")


def bits(path: Path) -> dict[str, bytes]:
    """Return a model's arrays as bytes; the file's header is in no fixed order."""
    return {name: array.tobytes() for name, array in load_file(path).items()}


def hospitals_and_rounds(rows: pd.DataFrame) -> set[tuple[str, int]]:
    """Return the pairs in a table."""
    return set(zip(rows["hospital"], rows["round"], strict=True))


@pytest.fixture(scope="module")
def federation(centre, wait, tmp_path_factory):
    """Three hospitals, admitted and online."""
    folder = tmp_path_factory.mktemp("hospitals")
    with ExitStack() as stack:
        manifests = write_hospitals(
            folder / "data", len(NAMES), scale=0.05, seed=1, picture_px=64,
            progress=lambda done, total: None,
        )  # fmt: skip
        federation = Federation(
            centre=centre,
            hospitals=tuple(joined(centre, manifest, folder) for manifest in manifests),
            stack=stack,
            wait=wait,
        )
        for one in federation.hospitals:
            federation.start_hospital(one)
        federation.wait_for_online(*NAMES)
        yield federation


def joined(centre, manifest, folder):
    """Return a hospital that the centre has admitted."""
    name = manifest.parent.name
    new = join(centre.kit, name, manifest, folder / name)
    policy = new.hospital.policy
    text = policy.read_text().replace("least_hospitals = 2", "least_hospitals = 1")
    policy.write_text(text.replace("most_rounds = 1", "most_rounds = 9"))
    admit(centre.centre, name, new.public_key)
    one = Hospital(
        name=name,
        manifest=manifest,
        site=folder / name,
        faults=folder / f"{name}-faults",
    )
    one.faults.mkdir()
    one.plan()
    return one


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """What was seen when a run had failed, before it was resumed."""

    stopped: str
    """Its line of ``thyroid-server status``."""
    rows: pd.DataFrame
    """Its participation."""
    left_running: list[psutil.Process] = field(default_factory=list)
    """Processes of hospitals' SuperNodes that are no more."""


@pytest.fixture(scope="module")
def bad_replies(federation):
    """A run of bad replies: in its last round only such, then resumed without."""
    first, second, third = federation.hospitals
    first.plan(r1="nan", r2="a billion", r3="norm", r4="too many")
    second.plan(r1="shapes", r2="exception", r4="nan")
    third.plan(r4="exception")
    federation.start_study("bad-replies", BAD_REPLIES)
    stopped = federation.wait_for_state("bad-replies", "failed")
    rows = federation.participation("bad-replies")

    for one in federation.hospitals:
        one.forget()
    federation.resume("bad-replies")
    return Stopped(stopped=stopped, rows=rows)


@pytest.fixture(scope="module")
def killed(federation):
    """A run with a straggler, and processes that are killed one after the other."""
    centre, wait = federation.centre, federation.wait
    first, second, third = federation.hospitals
    first.plan(r1="hold", r2="hold", r3="hold")
    second.plan(r1="hold", r2="hold", r3="hold")
    third.plan(r2="hold", r3="hold")
    federation.start_study("killed", KILLED)

    federation.wait_for_holding(1, first, second)
    orphans = first.processes()
    orphans[0].kill()
    federation.wait_for_round("killed", 1)
    federation.wait_for_online(first.name)
    second.go(1)

    federation.wait_for_holding(2, *federation.hospitals)
    orphans += first.processes()
    os.kill(second.holding(2), signal.SIGKILL)  # the ClientApp
    first.program.terminate()
    assert first.program.wait(60) == 0
    federation.start_hospital(first)
    missed = "round 2, train: H001: it went offline"
    wait(
        lambda: missed in federation.log("killed"),
        lambda: federation.log("killed"),
        PATIENCE_S,
    )
    superlink = process_of(centre, "flower-superlink")
    superlink.kill()
    wait(lambda: not superlink.is_running())
    wait(lambda: is_up(centre.centre))
    third.go(2)

    federation.wait_for_holding(3, *federation.hospitals)
    process_of(centre, "flwr-serverapp").kill()
    stopped = federation.wait_for_state("killed", "failed")
    for one in federation.hospitals:
        one.go(3)
    federation.resume("killed")
    for one in federation.hospitals:
        one.forget()
    return Stopped(
        stopped=stopped,
        rows=federation.participation("killed"),
        left_running=[one for one in orphans if one.is_running()],
    )


def process_of(centre, program):
    """Return the process of the centre that runs a program."""
    below = psutil.Process(centre.process.pid).children(recursive=True)
    return next(one for one in below if program in " ".join(one.cmdline()[:2]))


@pytest.mark.parametrize(
    ("number", "hospital", "reason"),
    [
        (1, "H001", "has numbers that are not finite"),
        (1, "H002", "its model cannot be used: it is of another model"),
        (2, "H001", "num-examples is 1000000000.0; expected 0 to 1e+07"),
        (2, "H002", "FileNotFoundError in the hospital; its own log says more"),
        (3, "H001", "its model has norm"),
    ],
    ids=["nan", "shapes", "a billion cases", "exception", "norm"],
)
def test_a_bad_reply_is_named_and_costs_no_other_hospital_the_round(
    bad_replies, number, hospital, reason
):
    rows = bad_replies.rows[bad_replies.rows["round"] == number].set_index("hospital")

    assert rows.loc[hospital, "outcome"] == "failed"
    assert reason in rows.loc[hospital, "reason"]
    assert rows.loc["H003", "outcome"] == "used"


def test_a_round_without_a_usable_reply_stops_the_study_and_names_all(bad_replies):
    said = bad_replies.stopped

    assert said.startswith("bad-replies: failed, round 3 of 4")
    assert "round 4: 0 hospitals sent a usable update" in said
    assert "num-examples is 1e+06, and its counts say that it trained on" in said
    assert all(name in said for name in NAMES)
    assert "to go on: thyroid-server resume bad-replies" in said


def test_the_stopped_study_goes_on_to_the_model_of_the_usable_replies(
    federation, bad_replies, tmp_path
):
    model = federation.simulated("bad-replies", tmp_path)

    assert federation.status("bad-replies").startswith("bad-replies: finished, round 4")
    assert federation.model("bad-replies") == model


def test_a_path_in_an_exception_stays_in_the_hospital(federation, bad_replies):
    root = federation.centre.folder
    files = [path for path in root.rglob("*") if path.is_file()]
    files += [root.parent / "start.log", root.parent / "nginx.log"]

    found = [
        path
        for path in files
        if path.exists() and any(part in path.read_bytes() for part in SECRETS)
    ]

    assert len(files) > 20
    assert found == []
    own = federation.hospitals[1].site / "logs" / "audit.jsonl"
    assert all(part in own.read_bytes() for part in SECRETS)


@pytest.mark.parametrize(
    ("number", "hospital", "reason"),
    [
        # A node that comes back within 3 s of its last heartbeat's end is not missed.
        (1, "H001", "it went offline|no reply within 120 s"),
        (1, "H002", "no reply within 120 s"),
        (2, "H001", "it went offline"),
        (2, "H002", "its training process was killed or ran out of memory"),
    ],
    ids=["SuperNode killed", "straggler", "hospital restarted", "ClientApp killed"],
)
def test_a_lost_hospital_is_named_and_the_round_goes_on(
    federation, killed, number, hospital, reason
):
    rows = federation.participation("killed")
    rows = rows[rows["round"] == number].set_index("hospital")

    assert rows.loc[hospital, "outcome"] == "failed"
    assert re.match(reason, rows.loc[hospital, "reason"])
    assert rows.loc["H003", "outcome"] == "used"


def test_lost_hospitals_take_part_again_by_themselves(federation, killed):
    rows = federation.participation("killed")

    last = rows[rows["round"] == 3]
    assert list(last["outcome"]) == ["used"] * 3
    assert set(last["hospital"]) == set(NAMES)
    assert killed.left_running == []


def test_a_late_reply_is_recognised_and_not_used(federation, killed):
    trips = federation.trips("killed")

    late = trips[trips["outcome"] == LATE]
    assert list(late["hospital"]) == ["H002"]
    assert list(late["round"]) == [1]
    assert list(late["step"]) == ["train"]
    assert (late["received_bytes"] > 10_000).all()


def test_a_study_survives_a_killed_superlink(federation, killed):
    record = read_record(federation.centre.centre, "killed")

    assert "superlink ended (exit code -9)" in federation.centre.log_of("start")
    assert len(record.run_ids) == 2  # the second one is for the killed ServerApp
    assert killed.stopped.startswith("killed: failed, round 2 of 3")


def test_a_killed_serverapp_is_told_in_words_and_resumed(federation, killed):
    run_ids = read_record(federation.centre.centre, "killed").run_ids

    trained = [one.times_trained(run_ids) for one in federation.hospitals]

    assert "its ServerApp was killed" in killed.stopped
    assert "to go on: thyroid-server resume killed" in killed.stopped
    assert federation.status("killed").startswith("killed: finished, round 3 of 3")
    assert [times.pop(3) in (1, 2) for times in trained] == [True] * 3
    assert trained == [{}, {1: 1}, {1: 1, 2: 1}]


def test_the_study_of_all_that_was_killed_has_the_right_model(
    federation, killed, tmp_path
):
    model = federation.simulated("killed", tmp_path)

    assert federation.model("killed") == model


def test_a_quorum_that_never_comes_stops_the_study_and_says_who_is_there(federation):
    federation.start_study("lonely", LONELY)

    said = federation.wait_for_state("lonely", "failed")

    assert "3 hospitals were connected after 1 s, min_hospitals is 4" in said
    assert "(connected: " in said
    assert all(name in said for name in NAMES)
    assert not (federation.out("lonely") / "checkpoint").exists()
