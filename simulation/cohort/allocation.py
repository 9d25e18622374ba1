"""Whole numbers with given sums: shares, tables with two margins, random portions.

All of it rests on one fact: the vertices of a transport polytope with integer
margins are integer (Birkhoff 1946; Hoffman and Kruskal 1956), so a linear programme
rounds a table without touching its row and column sums (Cox 1987, controlled
rounding).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.sparse import eye_array, kron, vstack

from thyroid_fl.errors import ConfigError

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
_IMPOSSIBLE = (
    "no cohort has the published counts under these assumptions; "
    "go back to the defaults of Assumptions, and change them one by one"
)


def shares(total: int, weights: ArrayLike, *, least: int = 0) -> Counts:
    """Return whole numbers (n,) in proportion to `weights` that sum to `total`.

    Each is at least `least`; what is left goes to the largest remainders.

    >>> shares(10, [1, 1, 1])
    array([4, 3, 3])
    >>> shares(10, [98, 1, 1], least=1)
    array([8, 1, 1])
    """
    weight = np.asarray(weights, float)
    exact = np.full(weight.shape, float(least))
    free = np.full(weight.shape, True)
    while True:  # entries below the least are fixed, the others share the rest
        exact[free] = (
            (total - least * (~free).sum()) * weight[free] / weight[free].sum()
        )
        below = free & (exact < least)
        if not below.any():
            break
        exact[below] = least
        free &= ~below
    whole = np.floor(exact + 1e-9).astype(np.int64)
    largest = np.argsort(whole - exact, kind="stable")
    whole[largest[: total - whole.sum()]] += 1
    return whole


def portions(total: int, weights: Floats, rng: np.random.Generator) -> Counts:
    """Return a random division (n,) of `total` things with chances as `weights`."""
    if not total:
        return np.zeros(len(weights), np.int64)
    return rng.multinomial(total, weights / weights.sum())


def transport(
    cost: Floats,
    rows: Counts,
    columns: Counts,
    *,
    least: Floats | float = 0.0,
    most: Floats | float = np.inf,
) -> Counts:
    """Return the cheapest table (R, C) of whole numbers with these row and column sums.

    A vertex has at most R + C - 1 cells other than `least` and `most`.

    Args:
        cost: Cost of one unit in each cell, (R, C).
        rows: Row sums, (R,).
        columns: Column sums, (C,), with the same total.
        least: Smallest entry, whole, for all cells or (R, C).
        most: Largest entry, whole or infinite, for all cells or (R, C).

    Raises:
        ConfigError: If no table has these sums.
    """
    n_rows, n_columns = cost.shape
    if min(rows.min(), columns.min()) < 0:
        raise ConfigError(_IMPOSSIBLE)
    row_of = kron(eye_array(n_rows), np.ones((1, n_columns)))
    column_of = kron(np.ones((1, n_rows)), eye_array(n_columns))
    bounds = np.stack([np.broadcast_to(b, cost.shape).ravel() for b in (least, most)])
    result = linprog(
        cost.ravel(),
        A_eq=vstack([row_of, column_of]).tocsr(),
        b_eq=np.concatenate([rows, columns]),
        bounds=bounds.T,
        method="highs-ds",  # simplex: ends on a vertex
    )
    if result.status != 0:
        raise ConfigError(_IMPOSSIBLE)
    table: Counts = np.rint(result.x).astype(np.int64)
    return table.reshape(cost.shape)


def proportional_table(seed: ArrayLike, rows: ArrayLike, columns: ArrayLike) -> Counts:
    """Return the table (R, C) of whole numbers with these sums that is nearest `seed`.

    Iterative proportional fitting (Deming and Stephan 1940), then controlled rounding:
    every entry is the fitted one rounded up or down; zeros of `seed` stay zero.

    >>> proportional_table([[1, 1], [1, 1]], [9, 2], [6, 5])
    array([[5, 4],
           [1, 1]])
    """
    row_sums, column_sums = np.asarray(rows), np.asarray(columns)
    fitted = np.asarray(seed, float)
    for _ in range(1000):
        fitted = fitted * _ratio(column_sums, fitted.sum(axis=0))
        fitted = fitted * _ratio(row_sums, fitted.sum(axis=1))[:, None]
        if np.abs(fitted.sum(axis=0) - column_sums).max() < 1e-10:
            break
    least = np.floor(fitted + 1e-7)
    return transport(
        least - fitted,
        row_sums,
        column_sums,
        least=least,
        most=np.ceil(fitted - 1e-7),
    )


def _ratio(wanted: NDArray[np.generic], present: Floats) -> Floats:
    """Return wanted / present, 0 where nothing is present."""
    ratio = np.zeros(present.shape)
    np.divide(wanted, present, out=ratio, where=present > 0)
    return ratio
