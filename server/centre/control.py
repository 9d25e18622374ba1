"""The SuperLink's Control API, on this machine: nodes, runs, logs.

It has no login, which is why the SuperLink listens on 127.0.0.1 only.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    StreamLogsRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors.http import RuntimeVersionHttpInterceptor

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.centre.folder import Centre

HEALTH_TIMEOUT_S = 2.0
LOOK_S = 1.0
PATIENCE_S = 120.0
"""How long a log waits for a SuperLink that has gone, in looks and their pauses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What the SuperLink knows of a hospital's node."""

    status: str
    """``registered`` (never seen), ``online``, ``offline``, or ``unregistered``."""
    online_since: str
    """ISO 8601; empty: never."""
    offline_since: str
    """ISO 8601; empty: never."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowerRun:
    """What the SuperLink knows of a run."""

    status: str
    """``pending``, ``starting``, ``running``, or ``finished``."""
    outcome: str
    """Of a finished run: ``completed``, ``failed``, or ``stopped``; else empty."""
    details: str
    """Why it failed, in Flower's words; often empty."""


def is_up(centre: Centre) -> bool:
    """Return whether the centre's own SuperLink answers."""
    try:
        url = f"https://{centre.superlink}/health"
        trusted = ssl.create_default_context(cafile=str(centre.ca))
        return httpx.get(url, verify=trusted, timeout=HEALTH_TIMEOUT_S).is_success
    except httpx.TransportError:
        return False


@contextmanager
def control(centre: Centre) -> Iterator[ControlHttpClient]:
    """Yield a client of the SuperLink's Control API; name its errors in words.

    Raises:
        ConfigError: the SuperLink does not run, or refuses a request.
    """
    try:
        with _client(centre) as client:
            yield client
    except httpx.HTTPStatusError as error:
        found = FlowerError.from_json(error.response.text)
        words = found.message if found else f"HTTP {error.response.status_code}"
        raise ConfigError(
            f"the SuperLink refused: {words} Its log says more: "
            f"{centre.root / 'logs' / 'superlink.log'}"
        ) from error
    except httpx.TransportError as error:
        raise ConfigError(
            f"no SuperLink of this centre answers at {centre.superlink} ({error}): "
            f"start it with thyroid-server start --centre {centre.root}"
        ) from error


def register(client: ControlHttpClient, name: str, pem: bytes) -> int:
    """Register a hospital's public key; return its node id."""
    asked = RegisterNodeRequest(public_key=pem, name=name)
    return int(client.RegisterNode(asked).node_id)


def unregister(client: ControlHttpClient, node_id: int) -> None:
    """Take a node off; it is cut off at once and cannot come back."""
    client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))


def nodes(client: ControlHttpClient) -> dict[int, Node]:
    """Return all nodes by their id, unregistered ones included."""
    return {
        int(one.node_id): Node(
            status=one.status,
            online_since=one.last_activated_at,
            offline_since=one.last_deactivated_at,
        )
        for one in client.ListNodes(ListNodesRequest()).nodes_info
    }


def start_run(client: ControlHttpClient, bundle: Fab, config: Mapping[str, str]) -> int:
    """Start a run of the bundle with these settings; return its id."""
    answer = client.StartRun(
        StartRunRequest(
            fab=fab_to_proto(bundle),
            override_config=user_config_to_proto(dict(config)),
        )
    )
    if not answer.HasField("run_id"):
        raise ConfigError("the SuperLink did not start the run; its log says why")
    return int(answer.run_id)


def stop_run(client: ControlHttpClient, run_id: int) -> None:
    """Stop a run; what its hospitals still send is not taken."""
    client.StopRun(StopRunRequest(run_id=run_id))


def runs(client: ControlHttpClient) -> dict[int, FlowerRun]:
    """Return all runs by their id."""
    answer = client.ListRuns(ListRunsRequest())
    return {
        int(run_id): FlowerRun(
            status=run.status.status,
            outcome=run.status.sub_status,
            details=run.status.details,
        )
        for run_id, run in answer.run_dict.items()
    }


def log_of(centre: Centre, run_id: int, *, until_end: bool) -> Iterator[str]:
    """Yield the log of a run's ServerApp as it comes, in pieces of any length.

    A run outlives a restart of the SuperLink, and so does this.

    Args:
        centre: the centre.
        run_id: a run that has begun: one that has not yet keeps this waiting.
        until_end: whether to wait for more until the run ends; else what is there.

    Raises:
        ConfigError: the SuperLink stays away, or does not know the run.
    """
    seen, gone = 0.0, 0.0
    while True:
        try:
            with _client(centre) as client:
                asked = StreamLogsRequest(run_id=run_id, after_timestamp=seen)
                for piece in client.StreamLogs(asked):
                    seen, gone = piece.latest_timestamp, 0.0
                    yield piece.log_output
                    if not until_end:
                        return
            return
        except httpx.TransportError:
            gone += LOOK_S
            if not until_end or gone > PATIENCE_S:
                with control(centre) as client:  # says what is wrong, in words
                    runs(client)
            time.sleep(LOOK_S)


def _client(centre: Centre) -> ControlHttpClient:
    return ControlHttpClient.from_server_address(
        server_address=centre.superlink,
        insecure=False,
        root_certificates=centre.ca.read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="thyroid-server")],
    )
