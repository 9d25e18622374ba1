"""A federation in one process: the real ServerApp and ClientApp, no sockets, no Ray.

Each message is a function call, made when its reply is asked for: one hospital at a
time, and never more than one reply in memory. Nothing is serialised again that is
already: all hospitals read the bytes of one global model.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count

from flwr.app import Context, Error, Message, RecordDict, UserConfigValue
from flwr.app.message.message import make_message
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

logger = logging.getLogger(__name__)

Config = Mapping[str, UserConfigValue]

RUN_ID = 1
FIRST_NODE_ID = 1001
"""Node of the first hospital; the others follow in the order of their configs."""


def run_in_process(
    server_app: ServerApp,
    client_app: ClientApp,
    node_configs: Sequence[Config],
    run_config: Config,
    on_reply: Callable[[Message], None] | None = None,
) -> None:
    """Run a ServerApp to its end against one virtual hospital for each node config.

    Whatever the ServerApp raises comes out; what the ClientApp raises becomes an error
    reply, as in a real federation.

    Args:
        server_app: for instance `thyroid_fl.server.app.app`.
        client_app: for instance `thyroid_fl.client.app.app`.
        node_configs: what each hospital finds in ``context.node_config``.
        run_config: what all find in ``context.run_config``.
        on_reply: called with every reply, for a progress display.
    """
    grid = InProcessGrid(client_app, node_configs, run_config, on_reply)
    context = _context(SUPERLINK_NODE_ID, {}, run_config)
    with _quiet():
        server_app(grid=grid, context=context)


class InProcessGrid(Grid):
    """A Flower Grid whose nodes are calls of one ClientApp in this process.

    ``context.state`` of each node lasts as long as the grid.
    """

    def __init__(
        self,
        client_app: ClientApp,
        node_configs: Sequence[Config],
        run_config: Config | None = None,
        on_reply: Callable[[Message], None] | None = None,
    ) -> None:
        self._client_app = client_app
        self._on_reply = on_reply
        self._contexts = {
            node_id: _context(node_id, node_config, run_config or {})
            for node_id, node_config in enumerate(node_configs, FIRST_NODE_ID)
        }
        self._waiting: dict[str, Message] = {}
        self._message_ids = map(str, count(1))
        self._run = Run.create_empty(RUN_ID)
        # Message() takes its sender from here; Flower's runtimes set it likewise.
        TaskIdentity.run_id = RUN_ID
        TaskIdentity.node_id = SUPERLINK_NODE_ID
        TaskIdentity.task_id = 1

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a new message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return the ids of all nodes: they are always connected."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Keep the messages until their replies are pulled; return their ids."""
        now = time.time()
        for stale in [k for k, m in self._waiting.items() if _expires_at(m) < now]:
            del self._waiting[stale]  # a round that was given up
        message_ids = []
        for message in messages:
            message_id = next(self._message_ids)
            message.metadata.__dict__["_message_id"] = message_id
            self._waiting[message_id] = message
            message_ids.append(message_id)
        return message_ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Run the ClientApp on the first of these that waits, and return its reply."""
        for message_id in message_ids:
            if message_id in self._waiting:
                reply = self._answer(self._waiting.pop(message_id))
                reply.metadata.__dict__["_message_id"] = next(self._message_ids)
                if self._on_reply:
                    self._on_reply(reply)
                return [reply]
        return []

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Return the replies to the messages, as many as come within the timeout."""
        started = time.monotonic()
        replies: list[Message] = []
        for message_id in self.push_messages(messages):
            if timeout is not None and time.monotonic() - started > timeout:
                break
            replies += self.pull_messages([message_id])
        return replies

    def _answer(self, message: Message) -> Message:
        """Return the ClientApp's reply; what it raises, as an error reply."""
        node_id = message.metadata.dst_node_id
        # Records of its own, so that a ClientApp which changes them changes no other's;
        # the arrays' bytes, which cannot be changed, are shared.
        records = {key: record.copy() for key, record in message.content.items()}
        received = make_message(message.metadata, RecordDict(records))
        try:
            reply = self._client_app(message=received, context=self._contexts[node_id])
            if not isinstance(reply, Message):
                raise TypeError(f"the ClientApp returned {type(reply)}, not a Message")
        except Exception as error:  # as Flower's runtime: a node cannot end the run
            logger.debug("node %d raised an exception", node_id, exc_info=True)
            reason = f"{type(error)}:<'{error}'>"
            code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
            return Message(Error(code=code, reason=reason), reply_to=message)
        return reply


def _context(node_id: int, node_config: Config, run_config: Config) -> Context:
    return Context(
        run_id=RUN_ID,
        node_id=node_id,
        node_config=dict(node_config),
        state=RecordDict(),
        run_config=dict(run_config),
    )


def _expires_at(message: Message) -> float:
    return float(message.metadata.created_at + message.metadata.ttl)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the lines of every round away; warnings stay.

    Our own lines are kept away only where the caller has not set up any logging.
    """
    loggers = [logging.getLogger("flwr"), logging.getLogger("thyroid_fl")]
    levels = [log.level for log in loggers]
    loggers[0].setLevel(logging.WARNING)
    if not loggers[1].hasHandlers():
        loggers[1].setLevel(logging.WARNING)
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
