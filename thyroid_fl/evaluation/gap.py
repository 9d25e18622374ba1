"""The generalisation gap: what a model loses where it was not trained.

Internal are new patients of the training hospitals, external are hospitals that took no
part; the model is the same. Every gap has a target, that is, whom its interval is for:

- ``these hospitals``: patients are the sample (Welch);
- ``hospitals like these``: hospitals are the sample, mean over them (random effects,
  Hartung-Knapp; ``bootstrap``: hospitals drawn first, of the pooled AUC);
- ``the next hospital``: the range to expect of one new hospital.

``auc`` is over all pairs and ``auc_within_site`` over pairs of one hospital: a model
that tells hospitals apart gains in the former only, and only where it knows them.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation.rows import Row, told_trainings
from thyroid_fl.evaluation.side_by_side import FoldScores, Measure
from thyroid_fl.evaluation.tested import Places, hospital_estimates, tested_places
from thyroid_fl.statistics import (
    Comparison,
    Estimate,
    GroupOutcome,
    RandomEffects,
    independent_difference,
    new_hospital_gap,
    random_effects_mean,
    two_stage_gap,
)

GAP_COLUMNS = [
    "task", "arm", "strategy", "budget", "trained_on", "unit", "metric", "target",
    "internal", "external", "difference", "low", "high", "p_value", "n_internal",
    "n_external", "method", "fold", "seed",
]  # fmt: skip
MAX_SIZE_RATIO = 1.1
"""Of two training sets that are to count as equally large."""


def gap_table(
    predictions: pd.DataFrame, *, seed: int = 1, n_resamples: int = 2000
) -> pd.DataFrame:
    """Return internal minus external of every model, with `GAP_COLUMNS`.

    A row per run, metric, unit and target, and mean rows where a model has several
    runs. NaN where a model was tested on one of the two sets only, or too few
    hospitals count. ``n_internal`` and ``n_external`` are patients, or the hospitals
    that count where these are the sample. Detection has no rows.

    Args:
        predictions: of a comparison.
        seed: of the bootstrap.
        n_resamples: of the bootstrap; 0 leaves its rows out.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    rows = []
    for names, measure, places in tested_places(predictions):
        shown = {**names, "metric": measure.metric}
        inside, outside = (places.get((s, "all"), []) for s in ("internal", "external"))
        rows += [shown | row for row in _these(measure, inside, outside)]
        if names["unit"] == "patient":
            rows += [shown | row for row in _like_these(measure, places)]
            if measure.within_site and n_resamples and inside and outside:
                found = _bootstrapped(inside, outside, seed, n_resamples)
                found["internal"] = measure.mean(inside).value
                found["external"] = measure.mean(outside).value
                rows.append(shown | found)
    return told_trainings(pd.DataFrame(rows, columns=GAP_COLUMNS))


def optimism_table(
    random: pd.DataFrame,
    held_out: pd.DataFrame,
    *,
    n_training: tuple[int, int],
) -> pd.DataFrame:
    """Return how much better a random split makes a model look, with `GAP_COLUMNS`.

    The test patients of the random split (``internal``) minus the hospitals that were
    held out (``external``), each with its own models; the mean over all runs. Patients
    that both splits test are taken as independent, which widens the interval.

    Args:
        random: predictions under the split by patient.
        held_out: predictions under the split by hospital.
        n_training: training pictures of either, which must be about equal.

    Raises:
        ConfigError: training sets or numbers of folds differ, or a column is missing.
    """
    if max(n_training) > MAX_SIZE_RATIO * min(n_training):
        raise ConfigError(
            f"{n_training[0]} and {n_training[1]} training pictures; the optimism of a "
            "split is a difference at equal training size: draw fewer for the larger"
        )
    known = {_key(names): places for names, _, places in _last_runs(held_out)}
    rows = []
    for names, measure, places in _last_runs(random):
        inside = places.get(("internal", "all"), [])
        outside = known.get(_key(names), {}).get(("external", "all"), [])
        if len(inside) != len(outside):
            raise ConfigError(
                f"{len(inside)} folds of the random split and {len(outside)} of the "
                "other; expected the same models in both"
            )
        shown = {**names, "metric": measure.metric, "target": "optimism of the split"}
        pairs = [
            (measure.outcome(a), measure.outcome(b))
            for a, b in zip(inside, outside, strict=True)
        ]
        found = independent_difference(pairs, same_models=False)
        rows.append(shown | _row(pairs, found))
    return pd.DataFrame(rows, columns=GAP_COLUMNS)


def _last_runs(predictions: pd.DataFrame) -> list[tuple[Row, Measure, Places]]:
    """Return the mean over runs of each model and unit, or its only run."""
    return list(
        {_key(found[0]): found for found in tested_places(predictions)}.values()
    )


def _key(names: Row) -> tuple[str, ...]:
    return tuple(str(names[name]) for name in names if name not in ("fold", "seed"))


def _outcomes(
    measure: Measure, inside: Sequence[FoldScores], outside: Sequence[FoldScores]
) -> list[tuple[GroupOutcome, GroupOutcome]]:
    """Return both groups' outcomes, fold by fold; folds that have both."""
    beyond = {fold.fold: fold for fold in outside}
    return [
        (measure.outcome(fold), measure.outcome(beyond[fold.fold]))
        for fold in inside
        if fold.fold in beyond
    ]


def _these(
    measure: Measure, inside: Sequence[FoldScores], outside: Sequence[FoldScores]
) -> Iterator[Row]:
    """Yield the gap for these hospitals, and within hospitals for those like them."""
    pairs = _outcomes(measure, inside, outside)
    if not pairs:
        yield {"target": "these hospitals", **_undefined(measure, inside, outside)}
        return
    yield {"target": "these hospitals", **_row(pairs, independent_difference(pairs))}
    if measure.within_site and inside[0].unit == "patient":
        beyond = {fold.fold: fold for fold in outside}
        pairs = [
            (measure.within_site(fold), measure.within_site(beyond[fold.fold]))
            for fold in inside
            if fold.fold in beyond
        ]
        row = _row(pairs, independent_difference(pairs))
        metric = f"{measure.metric}_within_site"
        yield {**row, "target": "hospitals like these", "metric": metric}


def _like_these(measure: Measure, places: Places) -> Iterator[Row]:
    """Yield the gap for hospitals of which these are a sample, and for the next."""
    inside, outside = (
        _over_hospitals(hospital_estimates(measure, places, test_set))
        for test_set in ("internal", "external")
    )
    found = new_hospital_gap(inside, outside)
    shared = {
        "metric": f"{measure.metric}_hospital_mean",
        "internal": inside.value,
        "external": outside.value,
        "difference": found.difference,
        "n_internal": inside.n,
        "n_external": outside.n,
    }
    yield shared | {
        "target": "hospitals like these",
        "low": found.low, "high": found.high, "p_value": found.p_value,
        "method": found.method,
    }  # fmt: skip
    yield shared | {
        "target": "the next hospital",
        "low": found.prediction_low, "high": found.prediction_high,
        "p_value": math.nan, "method": f"prediction interval; {found.method}",
    }  # fmt: skip


def _bootstrapped(
    inside: Sequence[FoldScores],
    outside: Sequence[FoldScores],
    seed: int,
    n_resamples: int,
) -> Row:
    """Return the pooled gap with hospitals drawn first; NaN over several folds."""
    target = {"target": "hospitals like these (bootstrap)"}
    first, last = inside[0], outside[0]
    n = {"n_internal": len(first.labels), "n_external": len(set(last.hospitals))}
    if len(inside) > 1 or len(outside) > 1:
        method = "no bootstrap over several folds: see the rows of each fold"
        return target | n | {"method": method}
    found = two_stage_gap(
        np.concatenate([first.labels, last.labels]),
        np.concatenate([first.scores[0], last.scores[0]]),
        np.concatenate([first.hospitals, last.hospitals]),
        np.repeat([False, True], [len(first.labels), len(last.labels)]),
        seed=seed,
        n_resamples=n_resamples,
    )
    kept = ("difference", "low", "high", "p_value", "method")
    return target | n | {name: getattr(found, name) for name in kept}


def _over_hospitals(of_each: dict[str, Estimate]) -> RandomEffects:
    return random_effects_mean(
        [found.value for found in of_each.values()],
        [found.variance for found in of_each.values()],
    )


def _row(pairs: Sequence[tuple[GroupOutcome, GroupOutcome]], found: Comparison) -> Row:
    kept = ("difference", "low", "high", "p_value", "method")
    return {
        "internal": float(np.mean([a.by_seed.mean() for a, _ in pairs])),
        "external": float(np.mean([b.by_seed.mean() for _, b in pairs])),
        "n_internal": sum(a.n for a, _ in pairs),
        "n_external": sum(b.n for _, b in pairs),
        **{name: getattr(found, name) for name in kept},
    }


def _undefined(
    measure: Measure, inside: Sequence[FoldScores], outside: Sequence[FoldScores]
) -> Row:
    """Return the row of a model that lacks one of the two test sets."""
    known = {
        name: measure.mean(list(folds)) if folds else None
        for name, folds in (("internal", inside), ("external", outside))
    }
    row: Row = {"method": "no test cases on one of the two sides"}
    for name, estimate in known.items():
        row[name] = estimate.value if estimate else math.nan
        row[f"n_{name}"] = estimate.n if estimate else 0
    return row
