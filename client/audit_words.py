"""The audit log in plain words."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]

_DONE = {"answered": "answered", "refused": "REFUSED", "failed": "FAILED"}


def told(
    events: Sequence[Event], *, arrays: bool = False, only_round: int | None = None
) -> list[str]:
    """Return lines for a person: by study and round what was asked, done, and sent.

    Args:
        events: of `thyroid_fl.client.audit.read_log`, oldest first.
        arrays: whether each array gets a line.
        only_round: leave out what is no request of this round; None: nothing.
    """
    lines: list[str] = []
    study = None
    for event in events:
        is_request = event.get("event") in _DONE
        if only_round is not None and event.get("round") != only_round:
            continue
        if is_request and (_study(event)) != study:
            study = _study(event)
            lines.append(study)
        lines += _request(event, arrays) if is_request else [_happened(event)]
    if events:
        lines.append(
            f"{len(events)} event{'s' * (len(events) != 1)}, the chain is whole; the "
            f"last hash is {events[-1]['hash']}"
        )
        lines.append("Note it elsewhere: then later nobody can cut the log unseen.")
    else:
        lines.append("no events yet")
    return [_printable(line) for line in lines]


def request_words(event: Event) -> str:
    """Return one request in a line: when, which round, what was asked and done."""
    when = f"{_time(event)}  "
    if event.get("round") is not None:
        when += f"round {event['round']}, "
    done = _DONE[event["event"]]
    reason = f": {event['reason']}" if event.get("reason") else ""
    return _printable(f"{when}{event.get('asked', 'unknown request')}: {done}{reason}")


def _study(event: Event) -> str:
    named = ", ".join(str(event[key]) for key in ("task", "strategy") if event.get(key))
    settings = event.get("settings_sha256")
    return (
        f"study {event.get('study_id', 'unknown')}"
        + (f": {named}" if named else "")
        + (f" (settings {str(settings)[:16]})" if settings else "")
    )


def _request(event: Event, with_arrays: bool) -> list[str]:
    lines = [f"  {request_words(event)}"]
    arrays = event.get("arrays") or []
    if arrays:
        n_bytes = sum(array["bytes"] for array in arrays)
        norm = math.sqrt(sum(float(array["norm"]) ** 2 for array in arrays))
        lines.append(
            f"    left: {len(arrays)} array{'s' * (len(arrays) != 1)}, "
            f"{n_bytes / 1e6:.2f} MB, total norm {norm:.4g}"
        )
    if with_arrays:
        lines += [f"      {_array(array)}" for array in arrays]
    if numbers := event.get("numbers"):
        lines.append(f"    left: {', '.join(_numbers(numbers))}")
    if not arrays and not numbers:
        lines.append("    left: nothing")
    if cases := event.get("cases"):
        lines.append(
            f"    cases: {cases.get('used', '?')} used of {cases.get('usable', '?')} "
            f"usable ({cases.get('readable', '?')} readable, "
            f"{cases.get('registered', '?')} registered)"
        )
    return lines


def _happened(event: Event) -> str:
    """Return the line of an event that is no request."""
    known = {"time", "event", "reason", "line", "previous", "hash"}
    more = [f"{key} {value}" for key, value in event.items() if key not in known]
    reason = f": {event['reason']}" if event.get("reason") else ""
    about = f" ({', '.join(more)})" if more else ""
    return f"{_time(event)}  {event.get('event', 'unknown')}{about}{reason}"


def _array(array: Event) -> str:
    shape = " x ".join(map(str, array["shape"])) or "one number"
    return (
        f"{array['name']}: {shape} {array['dtype']}, {array['bytes']} bytes, "
        f"norm {float(array['norm']):.4g}, sha256 {array['sha256']}"
    )


def _numbers(numbers: Mapping[str, Any]) -> Iterator[str]:
    for name, value in numbers.items():
        if isinstance(value, list) and len(value) > 8:
            yield f"{name} = {len(value)} numbers"
        else:
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            yield f"{name} = {shown}"


def _time(event: Event) -> str:
    return str(event.get("time", "?"))[:19].replace("T", " ") + " UTC"


def _printable(text: str) -> str:
    """Return text as a terminal may show it: names and reasons are the centre's."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
