"""The harm check on a comparison's page: sentences, tables, forest plot."""

from collections.abc import Iterator

import pandas as pd

from thyroid_fl.server.report.charts import (
    GREY,
    Chart,
    dress_forest,
    in_house_style,
    panels,
    short,
    whiskers,
)
from thyroid_fl.server.report.findings import Run, each, summary_rows
from thyroid_fl.server.report.sections.section import (
    Section,
    joint_rows,
    with_model_names,
)
from thyroid_fl.server.report.words import METRICS, STRATEGIES, interval, p_text

VERDICTS = {
    "helped": ("#0072B2", "o"),
    "no difference shown": ("black", "s"),
    "harmed": ("#D55E00", "v"),
    "not testable": (GREY, "x"),
}
"""Colour and marker of each."""
_ENDPOINTS = {
    "all": "All hospitals, mean",
    "larger half": "Larger half, mean",
    "smaller half": "Smaller half, mean",
    "worst": "Worst hospital",
    "worst decile": "Worst tenth of the hospitals",
}
_WORST = {
    "worst_hospital": "Worst hospital",
    "worst_decile": "Worst tenth",
    "share_below_internal": "Share below the internal interval",
}


def harm_section(run: Run) -> Section:
    """Return the harm check by patient; empty without single hospitals."""
    rows = _by_patient(run.further["harm"])
    if rows.empty:
        return Section()
    tables = {"hospitals": _hospitals_table(rows, run.shows_p)}
    endpoints = _endpoints_table(_by_patient(run.further["harm_summary"]))
    worst = _worst_table(run.further["worst"])
    tables |= {
        name: table
        for name, table in (("endpoints", endpoints), ("worst", worst))
        if len(table)
    }
    return Section(harm_sentences(run), tables, (harm_figure(run.further["harm"]),))


def harm_sentences(run: Run) -> tuple[str, ...]:
    """Return how many hospitals were harmed, and which, a sentence a budget."""
    rows = _by_patient(run.further["harm"])
    sentences = []
    for (strategy, budget), group in rows.groupby(["strategy", "budget"], sort=False):
        n_of = group["verdict"].value_counts()
        harmed = group.loc[group["verdict"] == "harmed", "hospital"]
        names = f" ({', '.join(harmed)})" if len(harmed) else ""
        others = [f"{k}: {n_of[k]}" for k in VERDICTS if k in n_of and k != "harmed"]
        several = rows["strategy"].nunique() > 1
        federated = f" ({STRATEGIES.get(str(strategy), strategy)})" if several else ""
        plural = "s" if len(group) > 1 else ""
        sentences.append(
            f"Harm check, federated{federated} minus the hospital's own model "
            f"({budget}): harmed: {len(harmed)} of {len(group)} hospital{plural}{names}"
            + "".join(f"; {text}" for text in others)
            + "."
        )
    return tuple(sentences)


@in_house_style
def harm_figure(harm: pd.DataFrame) -> Chart:
    """Return federated minus own model of each hospital, marked by its verdict.

    The largest hospital first; matched and tuned are rows of their own.
    """
    rows = _by_patient(harm)
    several = rows["strategy"].nunique() > 1
    rows = rows.assign(label=list(_labels(rows, several)))
    metric = ", ".join(METRICS[name] for name in rows["metric"].unique())
    rows = rows.assign(height=range(len(rows)))
    figure, (axis,) = panels(1, height_in=1.6 + 0.28 * len(rows))
    axis.axvline(0, color="black", linewidth=0.8)
    for name, (shade, marker) in VERDICTS.items():
        part = rows[rows["verdict"] == name]
        if not part.empty:
            whiskers(
                axis, part["difference"], part, part["height"],
                color=shade, marker=marker, markersize=5, label=f"{name} ({len(part)})",
            )  # fmt: skip
    direction = "\u2190 harmed  |  helped \u2192"
    dress_forest(axis, rows["label"], f"Difference in {metric} (95% CI)\n{direction}")
    return Chart("harm", figure, rows.drop(columns=["label", "height"]))


def _by_patient(table: pd.DataFrame) -> pd.DataFrame:
    rows = summary_rows(table)
    return rows[rows["unit"] == "patient"]


def _labels(rows: pd.DataFrame, several: bool) -> Iterator[str]:
    for row in each(rows):
        name = f"{short(row.hospital)} ({row.budget}), n = {row.n:.0f}"
        yield f"{STRATEGIES[row.strategy]}, {name}" if several else name


def _hospitals_table(rows: pd.DataFrame, shows_p: bool) -> pd.DataFrame:
    lines = []
    for row in each(rows):
        has_classes = not pd.isna(row.n_positive)
        lines.append(
            {
                "Hospital": row.hospital,
                "Own model": row.budget,
                "Strategy": STRATEGIES.get(row.strategy, row.strategy),
                "Training pictures": f"{row.size:,.0f}",
                "Test patients": f"{row.n:,.0f}"
                + (f" ({row.n_positive:,.0f} malignant)" if has_classes else ""),
                "Federated minus own (95% CI)": interval(
                    row.difference, row.low, row.high, sign=True
                ),
                "P (Holm)": p_text(row.p_holm, shows_p),
                "Verdict": row.verdict,
            }
        )
    return pd.DataFrame(lines)


def _endpoints_table(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Endpoint": _ENDPOINTS[row.hospital],
                "Own model": row.budget,
                "Strategy": STRATEGIES.get(row.strategy, row.strategy),
                "Hospitals": f"{row.n:.0f}",
                "Federated minus own (95% CI)": interval(
                    row.difference, row.low, row.high, sign=True
                ),
                "Verdict": row.verdict,
            }
            for row in each(rows[rows["n"] > 1])
        ]
    )


def _worst_table(worst: pd.DataFrame) -> pd.DataFrame:
    """Return what the worst hospitals get of federated and pooled models."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    rows = with_model_names(joint_rows(worst))
    for row in each(rows[rows["n"] > 0]):
        empty = {"Model": row.model, "Test set": row.test_set}
        line = lines.setdefault((row.model, row.test_set), empty)
        line["Hospitals"] = f"{row.n:.0f}"
        of_what = row.metric.partition("_")[2]
        line[_WORST[of_what]] = interval(row.value, row.low, row.high)
    return pd.DataFrame(list(lines.values()))
