"""What a federation's processes take: bytes on a port, and memory of each program."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil

ROLES = {
    "flower-superlink": "SuperLink",
    "flwr-serverapp": "ServerApp",
    "thyroid_fl.client.supernode.node": "SuperNode",
    "flower-supernode": "SuperNode",
    "flwr-clientapp": "ClientApp",
    "thyroid-client": "its supervisor",
}
"""Part of a command line -> what the process is."""


@dataclass(slots=True)
class Relay:
    """A TCP port that passes everything on, and counts."""

    port: int
    target: int
    down_bytes: int = 0
    """From the SuperLink to the hospitals."""
    up_bytes: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve in a thread until the end of the block."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        listening = asyncio.start_server(self._connect, "127.0.0.1", self.port)
        asyncio.run_coroutine_threadsafe(listening, loop).result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", self.target
            )
            await asyncio.gather(
                self._pass(reader, far_writer, "up_bytes"),
                self._pass(far_reader, writer, "down_bytes"),
            )

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, counter: str
    ) -> None:
        with contextlib.suppress(OSError):
            while content := await source.read(1 << 16):
                setattr(self, counter, getattr(self, counter) + len(content))
                sink.write(content)
                await sink.drain()
        sink.close()


@dataclass(slots=True)
class Memory:
    """The largest process of each kind, of those that this process has started."""

    peak_mb: dict[str, float] = field(default_factory=dict)
    """Kind -> resident memory, shared libraries included."""
    own_mb: dict[str, float] = field(default_factory=dict)
    """Kind -> memory that no other process shares."""
    all_mb: float = 0.0
    """The sum of what is not shared, over all processes at a time."""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look twice a second until the end of the block."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.5):
                self._look()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def taken(self) -> "Memory":
        """Return what was seen so far, and begin anew."""
        seen = Memory(
            peak_mb=dict(self.peak_mb), own_mb=dict(self.own_mb), all_mb=self.all_mb
        )
        self.peak_mb.clear()
        self.own_mb.clear()
        self.all_mb = 0.0
        return seen

    def _look(self) -> None:
        total = 0.0
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                command = " ".join(process.cmdline())
                found = process.memory_full_info()
                total += found.uss / 1e6
                kinds = [kind for part, kind in ROLES.items() if part in command]
                if "superexec" not in command and kinds:
                    kind, rss, uss = kinds[0], found.rss / 1e6, found.uss / 1e6
                    self.peak_mb[kind] = max(self.peak_mb.get(kind, 0), rss)
                    self.own_mb[kind] = max(self.own_mb.get(kind, 0), uss)
        self.all_mb = max(self.all_mb, total)
