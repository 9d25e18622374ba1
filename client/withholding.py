"""Which counts a hospital keeps to itself: none below its minimum can be worked out.

The rules see counts only, and treat equal counts alike; the tests go through every
small table and find none whose withheld cells follow from what is told, not even for
somebody who knows the rules.
"""

import numpy as np
from numpy.typing import NDArray

from thyroid_fl.summary import WITHHELD

IntArray = NDArray[np.int64]


def withheld(counts: IntArray, least: int) -> NDArray[np.bool_]:
    """Return which cells of a table are not told, where the table's sum is known.

    A count from 1 to ``least - 1`` must not be told. To withhold it alone is no use, as
    it is the sum less the others; and two withheld counts that sum to
    ``2 * (least - 1)`` would both be known, as neither can be larger. So with such a
    count in the table every cell below ``2 * least`` goes too, also the empty ones;
    and then the next smallest, until they hold ``2 * least``.

    Of the withheld counts nobody knows which is whose, and where they are all alike,
    one more here and one less there would give the same message.

    Args:
        counts: (cells,) at least three.
        least: the smallest count from 1 that may be told.

    >>> withheld(np.array([30, 12, 3, 0]), 5)
    array([False,  True,  True,  True])
    """
    is_small = (counts > 0) & (counts < least)
    if not is_small.any():
        return is_small
    hidden: NDArray[np.bool_] = counts < 2 * least
    while counts[hidden].sum() < 2 * least and not hidden.all():
        hidden |= counts == counts[~hidden].min()
    return hidden


def merged_ages(counts: IntArray, least: int) -> IntArray:
    """Return the counts of age bins and of unknown age, each added up until not small.

    From the youngest on, bins are joined as by `merged`. Unknown ages are counted apart
    where there are none, or nothing else, or enough of both; else the oldest bins join
    them until they are ``2 * least``, so that it is not known how many they are.

    Args:
        counts: (bins + 1,), the last one of unknown age; with a sum of 0, or at least
            ``least``.
        least: the smallest count from 1 that may be told.

    Returns:
        (bins + 1,) as `merged`; `WITHHELD` in the last cell: joined with the oldest.

    >>> merged_ages(np.array([7, 0, 9, 9, 1]), 5)
    array([ 7,  9, -1, 10, -1])
    """
    known, unknown = counts[:-1], counts[-1]
    total = counts.sum()
    told = np.full(len(counts), WITHHELD, np.int64)
    if least <= 1 or (total >= 2 * least and not (known.any() and unknown)):
        told[:-1], told[-1] = merged(known, least), unknown
        return told
    from_the_top = counts[::-1].cumsum()
    oldest = len(counts) - 1 - int(np.searchsorted(from_the_top, 2 * least))
    if oldest > 0 and counts[:oldest].sum() >= least:
        told[:oldest] = merged(counts[:oldest], least)
    else:
        oldest = 0
    told[oldest] = counts[oldest:].sum()
    return told


def merged(counts: IntArray, least: int) -> IntArray:
    """Return the counts of ordered cells, neighbours added up until none is small.

    From the left, cells are joined until they hold ``least``; the rest joins the last
    of these groups. With ``least`` 1 nothing is joined.

    Args:
        counts: (cells,), which sum to 0 or to ``least`` or more.
        least: the smallest count from 1 that may be told.

    Returns:
        (cells,): a group's count in its first cell, `WITHHELD` in its others.

    >>> merged(np.array([1, 5, 0, 2, 4, 3]), 5)
    array([ 6, -1,  9, -1, -1, -1])
    """
    if least <= 1:
        return counts.copy()
    told = np.full(len(counts), WITHHELD, np.int64)
    first, last = 0, 0
    total = 0
    for i, count in enumerate(counts):
        total += count
        if total >= least:
            told[first] = total
            last, first, total = first, i + 1, 0
    told[last] = max(told[last], 0) + total
    return told
