"""Progress of a comparison on stderr: what is being done, how far, how long to go."""

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars


class Progress:
    """Bars for preparing pictures and for the hospitals' replies over all trainings."""

    def __init__(self, *, enabled: bool) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not enabled,
        )
        self._trainings: TaskID | None = None

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def counter(self, description: str) -> Callable[[int, int], None]:
        """Return a function of (done, total) that shows one bar."""
        bar: list[TaskID] = []

        def show(done: int, total: int) -> None:
            if not bar:
                bar.append(self._bars.add_task(description, total=total))
            self._bars.update(bar[0], completed=done, total=total)

        return show

    def plan(self, n_replies: int) -> None:
        """Show the bar of all trainings' replies."""
        self._trainings = self._bars.add_task("training", total=n_replies)

    def replies(self, n: int) -> None:
        """Count so many more replies of hospitals."""
        if self._trainings is not None:
            self._bars.advance(self._trainings, n)

    def skip(self, n_replies: int) -> None:
        """Count replies that an earlier call got; they say nothing about the speed."""
        if self._trainings is not None:
            total = self._bars.tasks[self._trainings].total or 0
            self._bars.update(self._trainings, total=total - n_replies)

    def step(self, name: str) -> None:
        """Say what is being done now; in a log file, which has no bars, as a line."""
        if self._trainings is None:
            return
        self._bars.update(self._trainings, description=name)
        bar = self._bars.tasks[self._trainings]
        if not self._bars.disable and not self._bars.console.is_terminal:
            self._bars.console.print(f"{bar.completed:.0f}/{bar.total:.0f} {name}")
