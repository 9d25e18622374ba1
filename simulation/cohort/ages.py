"""Ages that give all 27 published quartiles at once.

How many patients of each year of age each group holds is one integer programme:
every quartile (numpy's linear rule) is two bounds on a cumulative count, and the
counts stay as near as they can (least absolute deviations) to a normal
distribution cut at the youngest and the oldest age.
Groups: classification split x annotated x sex, the cells that Table 1 reports on.
"""

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, eye_array, hstack
from scipy.stats import norm

from thyroid_fl.errors import ConfigError
from thyroid_fl.simulation.cohort.allocation import Counts, Floats
from thyroid_fl.simulation.cohort.assumptions import Assumptions
from thyroid_fl.simulation.cohort.tables import (
    AGE_BY_SEX,
    CLASSIFICATION,
    N_TEST_BELOW_45,
    QUARTILES,
    SEGMENTATION,
    TOTAL_AGE,
)

Flags = NDArray[np.bool_]
Group = tuple[str, bool, str]
"""Classification split, annotated, sex."""


def ages(
    patients: pd.DataFrame, assumptions: Assumptions, rng: np.random.Generator
) -> Counts:
    """Return each patient's age in whole years, (n,), with the published quartiles.

    Within a group (split, annotated, sex) the ages are dealt at random, so that age
    does not depend on class, vendor or hospital.

    Raises:
        ConfigError: If no ages in the assumed range have these quartiles.
    """
    keys = ["classification_split", "annotated", "sex"]
    rows_of = patients.groupby(keys).indices
    groups = tuple((key, len(rows)) for key, rows in rows_of.items())
    counts = _counts_by_year(groups, assumptions)  # (groups, years)
    years = np.arange(assumptions.age_least, assumptions.age_most + 1)
    age = np.empty(len(patients), np.int64)
    for rows, count in zip(rows_of.values(), counts, strict=True):
        age[rows] = rng.permutation(np.repeat(years, count))
    return age


@cache
def _counts_by_year(
    groups: tuple[tuple[Group, int], ...], assumptions: Assumptions
) -> Counts:
    """Return how many patients of each age each group has, (groups, years)."""
    sizes = np.array([n for _, n in groups])
    least, most = assumptions.age_least, assumptions.age_most
    years = np.arange(least, most + 1)
    density = norm.pdf(years, assumptions.age_mean, assumptions.age_sd)
    wanted = np.outer(sizes, density / density.sum()).ravel()
    rows, low, high = zip(*_bounds([g for g, _ in groups], sizes, years), strict=True)
    counts = _nearest(wanted, np.stack(rows), np.array(low), np.array(high))
    if counts is None:
        raise ConfigError(
            f"no ages from {least} to {most} have the published quartiles; "
            "widen age_least and age_most"
        )
    return counts.reshape(len(groups), -1)


def _nearest(wanted: Floats, rows: Floats, low: Floats, high: Floats) -> Counts | None:
    """Return the whole numbers x (n,) nearest to `wanted` with low <= rows @ x <= high.

    None where there are none.
    """
    n = wanted.size
    cell, none = eye_array(n), csr_array((n, 1))
    spread = csr_array(np.sqrt(wanted)[:, None])
    result = milp(
        # Cells, their distances from what is wanted, and the largest distance in
        # units of Poisson's SD: without it single years hold twice what they should.
        np.r_[np.zeros(n), np.ones(n), 100],
        constraints=[
            LinearConstraint(
                hstack([csr_array(rows), csr_array((len(rows), n + 1))]), low, high
            ),
            LinearConstraint(hstack([cell, cell, none]), wanted, np.inf),
            LinearConstraint(hstack([cell, -cell, none]), -np.inf, wanted),
            LinearConstraint(hstack([0 * cell, -cell, spread]), 0, np.inf),
        ],
        integrality=np.r_[np.ones(n), np.zeros(n + 1)],
        bounds=Bounds(0, np.inf),
        options={"mip_rel_gap": 0.05},
    )
    return None if result.x is None else np.rint(result.x[:n]).astype(np.int64)


def _bounds(
    groups: list[Group], sizes: Counts, years: Counts
) -> Iterator[tuple[Floats, float, float]]:
    """Yield row, lower and upper bound of each constraint on the cells."""
    for i, size in enumerate(sizes):
        yield _cells(np.arange(len(groups)) == i, years < np.inf), size, size
    for of, quartiles in _published(groups):
        n = int(sizes[of].sum())
        for q, value in zip(QUARTILES, quartiles, strict=True):
            # Both neighbours of the position (n - 1) q have the published value.
            position = (n - 1) * q
            yield _cells(of, years < value), 0, math.floor(position)
            yield _cells(of, years <= value), math.ceil(position) + 1, n
    test = np.array([split == "test" for split, _, _ in groups])
    yield _cells(test, years < 45), N_TEST_BELOW_45, N_TEST_BELOW_45


def _published(
    groups: list[Group],
) -> Iterator[tuple[Flags, tuple[int, int, int]]]:
    """Yield the groups that a published age is about, and its quartiles."""
    splits, annotated, sexes = (
        np.array(column) for column in zip(*groups, strict=True)
    )
    yield np.full(len(groups), True), TOTAL_AGE
    for sex, quartiles in AGE_BY_SEX.items():
        yield sexes == sex, quartiles
    for split, margins in CLASSIFICATION.items():
        yield splits == split, margins.age
    for split, margins in SEGMENTATION.items():
        yield (splits == split) & annotated, margins.age


def _cells(groups: Flags, years: Flags) -> Floats:
    """Return the indicator of these groups' cells of these years, flat."""
    return np.outer(groups, years).astype(float).ravel()
