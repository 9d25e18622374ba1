"""Flower's SuperNode in this process, as a hospital must run it.

Flower 1.41 has no public function for that, and checks a bundle only by signatures of
its own hub. So three names of `flwr.supernode.start_client_internal` are replaced: the
connection (to look at each run and bundle as it arrives), the check of a bundle, and
the error that the centre gets for a bundle that fails it. The check is asked for each
run that the SuperNode does not know yet, and it gets to know a run only after its
bundle was accepted, under the bundle's hash; so it holds for every message.

Flower's line to the centre would follow a redirect to any other host, so also within
the hospital's network; this is switched off.
"""

import importlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Error
from flwr.common.constant import ISOLATION_MODE_PROCESS, ErrorCode
from flwr.supercore.fab import Fab
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.protobuf.client import ProtobufClient
from flwr.supercore.run import Run
from flwr.supernode.nodestate import NodeStateFactory

from thyroid_fl.client import audit
from thyroid_fl.client.supernode.apps import app_starter, runtime_api
from thyroid_fl.client.supernode.bundle import refuse_bundle, refuse_run
from thyroid_fl.client.supernode.contact import Contact, read_contact, write_contact
from thyroid_fl.client.supernode.folder import Hospital, read_key
from thyroid_fl.client.supernode.words import CONNECTED

log = logging.getLogger(__name__)

# `flwr.supernode.start_client_internal` is a function of that name in the package.
_INTERNAL = "flwr.supernode.start_client_internal"
_VERDICT = "hospital"

MISSED_S = 10.0
"""A hospital that is away for so long is missed: the centre looks every 3 s or so."""

GetRun = Callable[[int], Run]
GetFab = Callable[[str, int], Fab]
Refused = Callable[[int, str], None]


def serve(hospital: Hospital) -> None:
    """Connect to the centre and answer it; return where the connection is lost.

    Flower ends the process itself (exit code 1) where it cannot connect, and on
    SIGTERM (exit code 0).
    """
    flower = importlib.import_module(_INTERNAL)
    stay_at_the_centre(ProtobufClient)
    guard(flower, hospital)
    stay_away_until_missed(hospital.contact)
    key = read_key(hospital.key)
    config: dict[str, str | int] = {
        "manifest": str(hospital.manifest),
        "state": str(hospital.state),
        "policy": str(hospital.policy),
        "audit": str(hospital.audit),
    }
    if hospital.min_cell is not None:
        config["min-cell"] = hospital.min_cell
    states = NodeStateFactory(objectstore_factory=ObjectStoreFactory())
    with (
        runtime_api(states, hospital.state / "flower") as (address, secret),
        app_starter(address, secret),
    ):
        flower.start_client_internal(
            state_factory=states,
            server_address=hospital.address,
            node_config=config,
            root_certificates=hospital.ca.read_bytes(),
            insecure=False,
            authentication_keys=(key, key.public_key()),
            isolation=ISOLATION_MODE_PROCESS,
            runtime_api_address=address,
            trusted_entities={_VERDICT: ""},  # else no bundle is checked
            runtime_dependency_install=False,
        )


def guard(flower: Any, hospital: Hospital) -> None:
    """Have Flower's SuperNode refuse each bundle that a hospital must not use.

    Args:
        flower: the module `flwr.supernode.start_client_internal`.
        hospital: whose audit log is told, and whose file of contacts.
    """
    connect = flower._init_connection

    def refused(run_id: int, reason: str) -> None:
        log.error("run %d is refused: %s", run_id, reason)
        audit.append(
            hospital.audit,
            {"event": "bundle refused", "run_id": str(run_id), "reason": reason},
        )

    def verify(fab: Fab, _: dict[str, str]) -> bool:
        reason = fab.verifications.get(_VERDICT, "the bundle was not checked")
        if reason:
            flower.FAB_VERIFICATION_ERROR = Error(ErrorCode.INVALID_FAB, reason)
        return not reason

    @contextmanager
    def connected(**arguments: Any) -> Iterator[tuple[Any, ...]]:
        with connect(**arguments) as connection:
            node_id, receive, send, get_run, get_fab, *others = connection
            audit.append(
                hospital.audit, {"event": "connected", "address": hospital.address}
            )
            log.warning(CONNECTED)
            get_run, get_fab = checked(get_run, get_fab, refused)
            receive = _noted(receive, hospital.contact)
            yield (node_id, receive, send, get_run, get_fab, *others)

    flower._init_connection = connected
    flower._verify_fab = verify


def stay_away_until_missed(
    contact: Path, pause: Callable[[float], None] = time.sleep
) -> None:
    """Pause where the last connection ended in the midst of a request.

    Flower does not send that again, and the centre hears of it only if it looks while
    the hospital is away; else it would wait for the answer until the deadline.
    """
    last = read_contact(contact)
    if last is not None and last.is_working:
        log.warning("a request was cut off; connecting in %.0f s", MISSED_S)
        pause(MISSED_S)


def stay_at_the_centre(client: Any) -> None:
    """Have Flower's clients of that class follow no redirect, from now on."""
    made = client.__init__

    def without_redirects(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self._client.follow_redirects = False

    client.__init__ = without_redirects


def checked(
    get_run: GetRun, get_fab: GetFab, refused: Refused
) -> tuple[GetRun, GetFab]:
    """Return both functions so that a bundle brings the hospital's verdict with it."""
    runs: dict[int, Run] = {}

    def get_run_noted(run_id: int) -> Run:
        runs[run_id] = get_run(run_id)
        return runs[run_id]

    def get_fab_judged(fab_hash: str, run_id: int) -> Fab:
        run = runs.pop(run_id)
        content = get_fab(fab_hash, run_id).content
        reason = refuse_bundle(content, run.fab_hash) or refuse_run(
            content,
            fab_id=run.fab_id,
            fab_version=run.fab_version,
            task_type=run.primary_task_type,
        )
        if run.run_id != run_id:
            reason = "the centre answered with another run than was asked for"
        if reason:
            refused(run_id, reason)
        # Flower asks for a licence before it asks for the verdict.
        verdict = {"valid_license": "not used", _VERDICT: reason or ""}
        return Fab(run.fab_hash, content, verdict)

    return get_run_noted, get_fab_judged


def _noted(receive: Callable[[], Any], path: Path) -> Callable[[], Any]:
    """Return `receive` so that the time of each contact is written down."""

    def receive_noted() -> Any:
        received = receive()
        write_contact(
            path, Contact(time_s=time.time(), is_working=received is not None)
        )
        return received

    return receive_noted
