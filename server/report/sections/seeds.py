"""How much the models change when they are trained again, on a comparison's page."""

import numpy as np
import pandas as pd

from thyroid_fl.evaluation import EVALUATIONS
from thyroid_fl.server.report.charts import (
    GREY,
    Chart,
    colour,
    dress_forest,
    in_house_style,
    models,
    of_model,
    panels,
    short,
)
from thyroid_fl.server.report.findings import Run, each, per_run_rows
from thyroid_fl.server.report.sections.section import Section, with_model_names
from thyroid_fl.server.report.words import (
    METRICS,
    TEST_SETS,
    model_name,
    number,
)

_MODEL = ["arm", "strategy", "budget", "trained_on", "test_set", "metric"]
_ONE_SEED = (
    "Each model was trained once: the intervals hold for other patients, not for "
    "another training, so no P value is shown. Train again with --seeds 3."
)
_NO_SPREAD = (
    "The intervals of {} know nothing of the spread between trainings, so no P value "
    "is shown: look at the single trainings beside them."
)


def seeds_section(run: Run) -> Section:
    """Return the spread over trainings; without several seeds only what is missing."""
    sentences = seed_sentences(run)
    if run.n_seeds < 2:
        return Section(sentences)
    spread = spread_table(run.results)
    figure = seeds_figure(run.results)
    return Section(sentences, {"spread": _in_words(spread)}, (figure,))


def seed_sentences(run: Run) -> tuple[str, ...]:
    """Return why no P value is shown, where none is."""
    if run.shows_p:
        return ()
    if run.n_seeds < 2:
        return (_ONE_SEED,)
    return (_NO_SPREAD.format(METRICS[EVALUATIONS[run.study.task].metric]),)


def spread_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return mean, SD and range over the trainings of each model and test set.

    In the main metric over all hospitals. With folds, of each seed's mean over folds:
    what another fold changes is patients, not training. SD with n - 1; NaN for one.
    """
    seeds = _by_seed(results).groupby(_MODEL, sort=False)["value"]
    return seeds.agg(["count", "mean", "std", "min", "max"]).reset_index()


@in_house_style
def seeds_figure(results: pd.DataFrame) -> Chart:
    """Return every training of every model, a mark each, in the main metric."""
    rows = _by_seed(results)
    metric = ", ".join(METRICS[name] for name in rows["metric"].unique())
    drawn = models(rows)
    tested = [name for name in TEST_SETS if name in set(rows["test_set"])]
    figure, (axis,) = panels(1, height_in=1.4 + 0.3 * len(drawn))
    for test_set in tested:
        marker, shift = ("D", -0.15) if test_set == "internal" else ("o", 0.15)
        for height, model in enumerate(drawn):
            part = of_model(rows[rows["test_set"] == test_set], model)
            axis.plot(
                part["value"], np.full(len(part), height + shift), marker, alpha=0.7,
                color=colour(model), markersize=4.5,
            )  # fmt: skip
        axis.plot([], [], marker, color=GREY, label=f"{test_set.capitalize()} test")
    names = [
        model_name(*model._replace(trained_on=short(model.trained_on)))
        for model in drawn
    ]
    dress_forest(axis, names, f"{metric}, one mark a training")
    return Chart("seeds", figure, rows)


def _by_seed(results: pd.DataFrame) -> pd.DataFrame:
    """Return one value a model, test set and seed."""
    rows = per_run_rows(results)
    grouped = rows.groupby([*_MODEL, "seed"], sort=False, as_index=False)
    return grouped[["value"]].mean()


def _in_words(spread: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model, the test sets side by side, internal first."""
    lines: dict[str, dict[str, str]] = {}
    named = with_model_names(spread.rename(columns={"count": "n"}))
    tested = [name for name in TEST_SETS if name in set(named["test_set"])]
    for test_set in tested:
        for row in each(named[named["test_set"] == test_set]):
            line = lines.setdefault(row.model, {"Model": row.model})
            line["Trainings"] = str(row.n)
            line[f"{test_set.capitalize()} mean {METRICS[row.metric]}"] = number(
                row.mean
            )
            line[f"SD ({test_set})"] = number(row.std)
            line[f"Range ({test_set})"] = f"{number(row.min)} to {number(row.max)}"
    return pd.DataFrame(list(lines.values())).fillna("\u2013")
