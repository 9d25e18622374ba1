"""No withheld count can be worked out, not even by somebody who knows the rules.

Every table up to a size is gone through: a withheld cell must be able to hold two
different counts under one and the same message.
"""

from collections import defaultdict

import numpy as np
import pytest

from thyroid_fl.client.withholding import merged, merged_ages, withheld
from thyroid_fl.summary import WITHHELD

SIZES = [(2, 3, 20), (2, 5, 12), (3, 3, 24), (3, 4, 18), (5, 3, 32), (5, 4, 24)]
"""The minimum, the cells of a table, and the most patients in it."""


def all_counts(n_cells, total):
    """Yield every way to divide so many patients among the cells."""
    if n_cells == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for others in all_counts(n_cells - 1, total - first):
            yield (first, *others)


def by_message(rule, least, n_cells, most):
    """Return the tables that lead to each message; the total is always known."""
    tables = defaultdict(list)
    for total in range(least, most + 1):
        for counts in all_counts(n_cells, total):
            message = rule(np.array(counts), least)
            tables[total, tuple(message)].append(counts)
    return tables


def nominal(counts, least):
    return np.where(withheld(counts, least), WITHHELD, counts)


@pytest.mark.parametrize("rule", [nominal, merged, merged_ages])
@pytest.mark.parametrize(("least", "n_cells", "most"), SIZES)
def test_no_small_count_follows_from_what_is_told(rule, least, n_cells, most):
    for (_, message), tables in by_message(rule, least, n_cells, most).items():
        possible = np.array(tables)
        for cell in range(n_cells):
            known = set(possible[:, cell])
            assert len(known) > 1 or not 0 < min(known) < least, (message, tables)


@pytest.mark.parametrize(("least", "n_cells", "most"), SIZES)
def test_no_sum_of_withheld_counts_is_known_and_small(least, n_cells, most):
    for (_, message), tables in by_message(nominal, least, n_cells, most).items():
        hidden = [cell for cell in range(n_cells) if message[cell] == WITHHELD]
        possible = np.array(tables)
        for chosen in range(1, 2 ** len(hidden)):
            cells = [c for k, c in enumerate(hidden) if chosen >> k & 1]
            known = set(possible[:, cells].sum(axis=1))
            assert len(known) > 1 or not 0 < min(known) < least, (message, tables)


@pytest.mark.parametrize(("least", "n_cells", "most"), SIZES)
def test_every_told_count_is_none_or_enough(least, n_cells, most):
    for rule in (nominal, merged, merged_ages):
        for total, message in by_message(rule, least, n_cells, most):
            told = [count for count in message if count != WITHHELD]
            assert all(count == 0 or count >= least for count in told)
            if rule is not nominal:
                assert sum(told) == total
                assert message[0] != WITHHELD


def test_the_plain_rule_would_not_do():
    """Only the small cells withheld: two that sum to 8 are 4 and 4."""

    def plain(counts, least):
        is_small = (counts > 0) & (counts < least)
        alone = is_small.sum() == 1
        others = np.where(is_small | (counts == 0), counts.max() + 1, counts)
        is_small[others.argmin()] |= alone
        return np.where(is_small, WITHHELD, counts)

    tables = by_message(plain, 5, 3, 13)

    assert tables[13, (5, WITHHELD, WITHHELD)] == [(5, 4, 4)]


def test_a_minimum_of_one_tells_everything():
    for counts in all_counts(4, 9):
        table = np.array(counts)

        assert not withheld(table, 1).any()
        np.testing.assert_array_equal(merged(table, 1), table)
        np.testing.assert_array_equal(merged_ages(table, 1), table)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([20, 30, 0, 8, 0], [20, 30, 8, -1, 0]),  # nobody of unknown age: said so
        ([0, 0, 0, 0, 30], [0, -1, -1, -1, 30]),  # all of unknown age
        ([20, 30, 0, 8, 12], [20, 30, 8, -1, 12]),  # enough of both
        ([20, 30, 0, 8, 3], [20, 30, -1, 11, -1]),  # three: joined with the oldest
        ([20, 30, 0, 2, 3], [20, 35, -1, -1, -1]),
        ([0, 1, 2, 0, 30], [33, -1, -1, -1, -1]),  # three of known age
        ([1, 2, 3, 2, 1], [9, -1, -1, -1, -1]),  # fewer than twice the minimum
    ],
)
def test_ages_by_hand(counts, told):
    assert merged_ages(np.array(counts), 5).tolist() == told
