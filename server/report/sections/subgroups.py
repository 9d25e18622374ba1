"""Subgroups of patients on a comparison's page: table and figure."""

import pandas as pd

from thyroid_fl.server.report.charts import (
    Chart,
    colour,
    dress_forest,
    in_house_style,
    models,
    of_model,
    panels,
    whiskers,
)
from thyroid_fl.server.report.findings import Run, each
from thyroid_fl.server.report.sections.section import (
    Section,
    joint_rows,
    with_model_names,
)
from thyroid_fl.server.report.words import METRICS, interval, p_text


def subgroup_section(run: Run) -> Section:
    """Return the subgroups of federated and pooled models, if the manifest has any."""
    rows = joint_rows(run.further["subgroups"])
    if rows.empty:
        return Section()
    figure = subgroup_figure(run.further["subgroups"])
    return Section((), {"groups": _table(rows, run.shows_p)}, (figure,))


@in_house_style
def subgroup_figure(subgroups: pd.DataFrame) -> Chart:
    """Return the value of each group of patients, of federated and pooled models."""
    rows = joint_rows(subgroups)
    rows = rows[(rows["against"] == "") & rows["value"].notna()]
    metric = ", ".join(METRICS[name] for name in rows["metric"].unique())
    names = rows["column"] + " " + rows["group"] + ", " + rows["test_set"]
    rows = rows.assign(label=names)
    height = {name: i for i, name in enumerate(dict.fromkeys(names))}
    figure, (axis,) = panels(1, height_in=1.5 + 0.36 * len(height))
    drawn = models(rows)
    for i, model in enumerate(drawn):
        part = of_model(rows, model)
        at = part["label"].map(height) + 0.6 * ((i + 0.5) / len(drawn) - 0.5)
        whiskers(
            axis, part["value"], part, at, color=colour(model),
            marker="s" if model.arm == "pooled" else "o", markersize=4.5,
            label=with_model_names(part)["model"].iloc[0],
        )  # fmt: skip
    dress_forest(axis, height, f"{metric} (95% CI)")
    return Chart("subgroups", figure, rows)


def _table(rows: pd.DataFrame, shows_p: bool) -> pd.DataFrame:
    """Return a line per model, test set and group, its difference beside it."""
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in each(with_model_names(rows)):
        group = f"{row.column} {row.group}"
        key = (row.model, row.test_set, group)
        line = lines.setdefault(
            key, {"Model": row.model, "Test set": row.test_set, "Group": group}
        )
        if row.against:
            difference = interval(row.value, row.low, row.high, sign=True)
            line["Minus"] = row.against
            line["Difference (95% CI)"] = difference
            line["P"] = p_text(row.p_value, shows_p)
            continue
        has_classes = not pd.isna(row.n_positive)
        malignant = f" ({row.n_positive:,.0f} malignant)" if has_classes else ""
        line["Patients"] = f"{row.n:,.0f}{malignant}"
        value = interval(row.value, row.low, row.high)
        line[f"{METRICS[row.metric]} (95% CI)"] = value
    return pd.DataFrame(list(lines.values())).fillna("")
