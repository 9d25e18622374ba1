"""A hospital's data summary as the centre reads it: checked, or refused."""

from dataclasses import dataclass
from math import isfinite

from flwr.app import Message, MetricRecord

from thyroid_fl.strategies.replies import MOST_EXAMPLES, UnusableReplyError
from thyroid_fl.summary import (
    AGE_STRATA,
    GREY,
    GREY_DIGITS,
    MIN_CELL,
    N_AGE_CELLS,
    N_GREY_BINS,
    N_IMAGES,
    N_PATIENTS,
    QUERY,
    TABLES,
    WITHHELD,
    ages_key,
    counts_keys,
)

Counts = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What one hospital told; `WITHHELD` stands for each count that it did not.

    Attributes:
        node: the hospital's number in the federation.
        min_cell: the smallest count from 1 that it tells.
        n_patients: or `WITHHELD`: fewer than `min_cell`; the rest is then empty.
        n_images: its pictures.
        patients: table -> counts in the order of `TABLES`.
        images: the same of their pictures; of tables masks and boxes, those with one.
        ages: stratum -> counts of the age cells. `WITHHELD` means that a cell is
            counted with the one before; from the first on, that nothing is told.
        grey: shares of the grey levels.
    """

    node: int
    min_cell: int
    n_patients: int
    n_images: int
    patients: dict[str, Counts]
    images: dict[str, Counts]
    ages: dict[str, Counts]
    grey: tuple[float, ...]


def read_summary(reply: Message) -> Summary:
    """Return what a hospital told.

    Raises:
        UnusableReplyError: the reply is not as `thyroid_fl.summary` has it; the fault.
    """
    record = reply.content.get(QUERY)
    if not isinstance(record, MetricRecord) or len(reply.content) > 1:
        raise UnusableReplyError(f"expected one metric record {QUERY!r} and no other")
    least = whole_number(record, MIN_CELL, 1)
    node = reply.metadata.src_node_id
    if record.get(N_PATIENTS) == WITHHELD:
        check_keys(record, {MIN_CELL, N_PATIENTS})
        return Summary(
            node=node,
            min_cell=least,
            n_patients=WITHHELD,
            n_images=WITHHELD,
            patients={},
            images={},
            ages={},
            grey=(),
        )
    keys = {MIN_CELL, N_PATIENTS, N_IMAGES, GREY, *map(ages_key, AGE_STRATA)}
    check_keys(record, keys.union(*map(counts_keys, TABLES)))
    n_patients = whole_number(record, N_PATIENTS, least)
    n_images = whole_number(record, N_IMAGES, n_patients)
    patients, images = {}, {}
    for table, cells in TABLES.items():
        of_patients, of_images = counts_keys(table)
        patients[table] = _counts(record, of_patients, len(cells), least, n_patients)
        images[table] = _counts(record, of_images, len(cells), least, n_images)
        if _hidden(patients[table]) != _hidden(images[table]):
            raise UnusableReplyError(
                f"{table} withholds other cells of patients than of images"
            )
        if not any(_hidden(patients[table])) and sum(patients[table]) != n_patients:
            raise UnusableReplyError(f"{of_patients} do not sum to {n_patients}")
    return Summary(
        node=node,
        min_cell=least,
        n_patients=n_patients,
        n_images=n_images,
        patients=patients,
        images=images,
        ages=_ages(record, least, n_patients),
        grey=_grey(record),
    )


def check_keys(record: MetricRecord, expected: set[str]) -> None:
    """Raise `UnusableReplyError` unless the record has exactly these keys."""
    if record.keys() != expected:
        names = sorted(record.keys() ^ expected)
        raise UnusableReplyError(
            f"{len(names)} entries are missing or too many, first {names[0]!r}; "
            "hospital and centre need the same version of thyroid-fl"
        )


def whole_number(
    record: MetricRecord, key: str, least: int, most: float = MOST_EXAMPLES
) -> int:
    """Return an entry that must be a whole number in a range.

    Raises:
        UnusableReplyError: it is not.
    """
    value = record.get(key)
    if not isinstance(value, int) or not least <= value <= most:
        raise UnusableReplyError(
            f"{key} is {value!r}; expected a whole number from {least} to {most:g}"
        )
    return value


def _counts(record: MetricRecord, key: str, n: int, least: int, total: int) -> Counts:
    """Return n counts, each `WITHHELD`, 0, or ``least`` or more; in sum at most total.

    A count below the hospital's own minimum is a fault: what it meant is not known.
    """
    values = record[key]
    if not isinstance(values, list) or len(values) != n:
        raise UnusableReplyError(f"{key}: expected a list of {n} counts")
    for value in values:
        allowed = value in (WITHHELD, 0) or least <= value <= total
        if not isinstance(value, int) or not allowed:
            raise UnusableReplyError(
                f"{key} holds {value!r}; expected {WITHHELD}, 0, or from {least} to "
                f"{total}"
            )
    counts = tuple(map(int, values))
    if sum(count for count in counts if count != WITHHELD) > total:
        raise UnusableReplyError(f"{key} sum to more than {total}")
    return counts


def _hidden(counts: Counts) -> list[bool]:
    return [count == WITHHELD for count in counts]


def _ages(record: MetricRecord, least: int, n_patients: int) -> dict[str, Counts]:
    ages = {
        stratum: _counts(record, ages_key(stratum), N_AGE_CELLS, least, n_patients)
        for stratum in AGE_STRATA
    }
    told = [counts for counts in ages.values() if not all(_hidden(counts))]
    in_sum = sum(n for counts in told for n in counts if n != WITHHELD)
    if any(counts[0] == WITHHELD for counts in told) or in_sum != n_patients:
        raise UnusableReplyError(
            f"the ages are {in_sum} patients', or one is counted with none before; "
            f"expected those of {n_patients}"
        )
    return ages


def _grey(record: MetricRecord) -> tuple[float, ...]:
    shares = record[GREY]
    if not isinstance(shares, list) or len(shares) != N_GREY_BINS:
        raise UnusableReplyError(f"{GREY}: expected a list of {N_GREY_BINS} shares")
    rounding = N_GREY_BINS * 10**-GREY_DIGITS / 2
    if not all(isfinite(s) and 0 <= s <= 1 for s in shares) or (
        abs(sum(shares) - 1) > rounding + 1e-9
    ):
        raise UnusableReplyError(f"{GREY}: expected shares from 0 to 1 that sum to 1")
    return tuple(map(float, shares))
