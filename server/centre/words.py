"""What the centre's command line says of hospitals, studies and logs, line by line."""

import re
from collections.abc import Iterable, Iterator, Sequence

from thyroid_fl.server.centre.control import log_of
from thyroid_fl.server.centre.folder import Centre
from thyroid_fl.server.centre.hospitals import Hospital
from thyroid_fl.server.centre.studies import Record, Standing

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = re.compile(
    r"Exit Code: 201|An unhandled exception occurred|For more information, visit"
    r"|Start `flwr-serverapp` process|Successfully installed thyroid-fl to"
    r"|ServerApp raised an exception|configure_(train|evaluate): Sampled"
)
_LEVEL = re.compile(r"^(INFO|WARNING|ERROR)\s*:\s*")


def hospital_table(hospitals: Sequence[Hospital]) -> Iterator[str]:
    """Yield the lines of a table of hospitals; nothing is cut off."""
    rows = [("hospital", "state", "since", "admitted", "key")]
    rows += [
        (
            one.admission.name,
            one.state,
            _short(one.admission.revoked or one.last_seen),
            _short(one.admission.admitted),
            one.admission.fingerprint,
        )
        for one in hospitals
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def standing_words(one: Standing) -> str:
    """Return in a line how far a study is, and what to do if it does not go on."""
    study = one.record.study
    words = f"{one.record.name}: {one.state}"
    if one.record.ask == "summary":
        words += " (asks for summaries)"
    else:
        words += f", round {one.last_round} of {study.rounds}"
        if one.best_round:
            words += f", best round {one.best_round} by {study.select_by}"
    if one.why:
        words += f": {_plain_reason(one.why)}"
    if one.state in ("failed", "stopped"):
        words += f"; to go on: thyroid-server resume {one.record.name}"
    return words


def lines_of(centre: Centre, record: Record, *, until_end: bool) -> Iterator[str]:
    """Yield the lines of the log of a study's last run, without colours."""
    rest = ""
    for piece in log_of(centre, record.run_ids[-1], until_end=until_end):
        *lines, rest = (rest + _COLOUR.sub("", piece)).split("\n")
        yield from lines
    if rest:
        yield rest


def plain(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a log that say what happens, without tracebacks.

    What ended the run is said once more at its end, from its status; the whole log is
    kept and shown by ``thyroid-server logs``.
    """
    in_traceback = False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            in_traceback = True
        elif in_traceback:
            # The first line that is not indented names the exception.
            in_traceback = line.startswith(" ") or not line
        elif line.strip() and not _NOISE.search(line):
            text = _LEVEL.sub("", line).strip()
            if text:
                yield text


def _plain_reason(why: str) -> str:
    why = " ".join(why.split())
    if why.startswith("No heartbeat received"):
        return "its ServerApp was killed, or the centre was restarted"
    return why.removeprefix("ServerApp failed with exception: ")


def _short(when: str) -> str:
    return when[:16].replace("T", " ")
