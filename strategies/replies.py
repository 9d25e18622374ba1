"""Replies, read one at a time: a faulty one costs its hospital the round, no other."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from thyroid_fl.packing import Arrays
from thyroid_fl.strategies.arrays import l2_norm, read_array

logger = logging.getLogger(__name__)

MOST_EXAMPLES = 1e7
"""A hospital that claims more examples than this is left out: none has as many."""

LARGEST_NORM = 10.0
"""A model whose norm is this many times the usual one is left out."""

Read = Callable[[ArrayRecord], Arrays]
Model = dict[str, tuple[tuple[int, ...], bool | None]]
"""Name of an array -> its shape, and whether it is averaged (None: not yet known)."""


@dataclass(slots=True)
class Tally:
    """Which nodes' replies went into an aggregation, and which did not."""

    used: list[int] = field(default_factory=list)
    """Nodes whose reply counts."""
    n_examples: float = 0.0
    """Sum of their weights."""
    told: dict[int, RecordDict] = field(default_factory=dict)
    """What they, and the empty ones, sent besides arrays."""
    empty: list[int] = field(default_factory=list)
    """Nodes that had no examples: no fault, but nothing to add."""
    left_out: dict[int, str] = field(default_factory=dict)
    """Nodes with a faulty reply, and the fault."""
    norms: list[float] = field(default_factory=list)
    """L2 norms of the models that count."""


class UnusableReplyError(Exception):
    """A reply that cannot be averaged; its text is the fault."""


def sent_model(arrays: Arrays) -> Model:
    """Return what replies to these arrays must look like.

    What was sent as floats must come back as floats; integers may come back as either.
    """
    return {
        name: (a.shape, True if np.issubdtype(a.dtype, np.inexact) else None)
        for name, a in arrays.items()
    }


def usable(
    replies: Iterable[Message],
    weighted_by_key: str,
    tally: Tally,
    *,
    model: Model | None = None,
    read: Read | None = None,
    usual_norm: float = inf,
    with_arrays: bool = True,
) -> Iterator[tuple[float, Arrays]]:
    """Yield weight and arrays of the replies that can be averaged; fill the tally.

    Args:
        replies: pulled one by one; a reply is freed before the next one is pulled.
        weighted_by_key: the metric that holds a reply's weight.
        tally: gets every reply's fate; a fault is logged with its node.
        model: names and shapes that a reply must have. Where it is not known: those
            that most replies in a list have, or those of the first reply in a stream.
        read: gives the arrays of a packed record, or raises ValueError; None: they
            come one by one, as Flower has them.
        usual_norm: a model with a norm above `LARGEST_NORM` times this is left out.
        with_arrays: False for evaluation; the arrays are then empty.
    """
    if with_arrays and model is None and read is None and isinstance(replies, Sequence):
        model = _most_common_model(replies)
    for reply in replies:
        node = reply.metadata.src_node_id
        try:
            content = _content(reply)
            n = _weight(content, weighted_by_key)
            arrays = _arrays(content, model, read) if with_arrays and n else {}
            norm = _norm(arrays, LARGEST_NORM * usual_norm)
        except UnusableReplyError as fault:
            tally.left_out[node] = str(fault)
            logger.warning("node %d is left out: %s", node, fault)
            continue
        tally.told[node] = _without_arrays(content)
        if n == 0:
            tally.empty.append(node)
            logger.info("node %d has no examples", node)
            continue
        if with_arrays and not tally.used:
            model = _model(arrays)
        tally.used.append(node)
        tally.n_examples += n
        tally.norms.append(norm)
        del reply, content  # only the arrays' bytes live on, until they are added
        yield n, arrays
        del arrays


def _content(reply: Message) -> RecordDict:
    if reply.has_error():
        raise UnusableReplyError(reply.error.reason or f"error {reply.error.code}")
    return reply.content


def _weight(content: RecordDict, key: str) -> float:
    records = [r for r in content.values() if isinstance(r, MetricRecord)]
    if len(records) != 1:
        raise UnusableReplyError(f"it has {len(records)} metric records, not one")
    n = records[0].get(key)
    if not isinstance(n, (int, float)):
        raise UnusableReplyError(f"{key} is {n!r}; expected one number")
    if not (isfinite(n) and 0 <= n <= MOST_EXAMPLES):
        raise UnusableReplyError(f"{key} is {n}; expected 0 to {MOST_EXAMPLES:.0e}")
    counts = content.get("counts")
    n_used = counts.get("n-used") if isinstance(counts, ConfigRecord) else None
    if isinstance(n_used, int) and n > n_used:
        raise UnusableReplyError(
            f"{key} is {n:g}, and its counts say that it trained on {n_used}"
        )
    return float(n)


def _arrays(
    content: RecordDict, model: Model | None, read: Read | None = None
) -> Arrays:
    """Return all arrays of a reply, or raise: a reply counts whole or not at all."""
    # Not `content.array_records`: what it returns is part of a reference cycle, which
    # would keep the reply's arrays until the garbage collector comes round.
    records = [r for r in content.values() if isinstance(r, ArrayRecord)]
    if len(records) != 1:
        raise UnusableReplyError(f"it has {len(records)} array records, not one")
    (record,) = records
    if read is not None:
        try:
            return read(record)
        except ValueError as error:
            raise UnusableReplyError(f"its model cannot be used: {error}") from error
    if model is None:
        model = {name: (tuple(array.shape), None) for name, array in record.items()}
    if record.keys() != model.keys():
        names = sorted(record.keys() ^ model.keys())
        raise UnusableReplyError(
            f"{len(names)} arrays are missing or too many, first {names[0]!r}"
        )
    arrays: Arrays = {}
    for name, (shape, is_averaged) in model.items():
        try:
            array = arrays[name] = read_array(record[name])
        except (TypeError, ValueError, EOFError) as error:
            raise UnusableReplyError(f"array {name!r} is broken: {error}") from error
        is_float = np.issubdtype(array.dtype, np.inexact)
        if array.shape != shape:
            raise UnusableReplyError(
                f"array {name!r} has shape {array.shape}; expected {shape}"
            )
        if is_averaged is not None and is_averaged != is_float:
            raise UnusableReplyError(f"array {name!r} has type {array.dtype}")
    return arrays


def _norm(arrays: Arrays, largest: float) -> float:
    """Return the L2 norm of the floating-point arrays; raise if it cannot be right."""
    norm = l2_norm(arrays)
    if not isfinite(norm):
        for name, array in arrays.items():
            if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
                raise UnusableReplyError(
                    f"array {name!r} has numbers that are not finite"
                )
    if norm > largest:
        raise UnusableReplyError(
            f"its model has norm {norm:.4g}; expected at most {largest:.4g}"
        )
    return norm


def _without_arrays(content: RecordDict) -> RecordDict:
    return RecordDict(
        {k: v for k, v in content.items() if not isinstance(v, ArrayRecord)}
    )


def _model(arrays: Arrays) -> Model:
    return {
        name: (a.shape, bool(np.issubdtype(a.dtype, np.inexact)))
        for name, a in arrays.items()
    }


def _most_common_model(replies: Sequence[Message]) -> Model | None:
    """Return the names and shapes that most of the readable replies have."""
    counts: Counter[frozenset[object]] = Counter()
    models: dict[frozenset[object], Model] = {}
    for reply in replies:
        try:
            model = _model(_arrays(_content(reply), None))
        except UnusableReplyError:
            continue
        key = frozenset(model.items())
        counts[key] += 1
        models.setdefault(key, model)
    return models[counts.most_common(1)[0][0]] if counts else None
