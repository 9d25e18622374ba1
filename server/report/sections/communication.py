"""What went over the lines, and how long the rounds took: two tables and a figure."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from thyroid_fl.evaluation.predictions import MODEL_COLUMNS
from thyroid_fl.server.report.charts import (
    Chart,
    in_house_style,
    legend_above,
    models,
    of_model,
    panels,
)
from thyroid_fl.server.report.words import STRATEGIES, model_name, number

MIB = 2**20
STEPS = {"train": "training", "evaluate": "validation", "evaluate.test": "test"}
"""Flower's message types in words, in the order of a study."""
BYTES = {"sent_bytes": "To hospitals", "received_bytes": "Back"}


def communication_table(traffic: pd.DataFrame, n_trainings: int = 1) -> pd.DataFrame:
    """Return requests and MiB of each step, and of all, as text.

    Args:
        traffic: of one strategy: one row a request with round, step, hospital,
            sent_bytes, received_bytes.
        n_trainings: that the rows are of; the numbers are means over them.
    """
    parts = [
        (words, traffic[traffic["step"] == step])
        for step, words in STEPS.items()
        if (traffic["step"] == step).any()
    ]
    lines = []
    for words, rows in [*parts, ("all", traffic)]:
        line = {
            "Step": words,
            "Rounds": f"{rows['round'].nunique():,}",
            "Requests": f"{len(rows) / n_trainings:,.0f}",
        }
        for column, name in BYTES.items():
            line[f"{name}, MiB"] = f"{rows[column].sum() / n_trainings / MIB:,.1f}"
        for column, name in BYTES.items():
            line[f"{name}, MiB a request"] = number(rows[column].mean() / MIB, 3)
        lines.append(line)
    return pd.DataFrame(lines)


def strategies_table(traffic: pd.DataFrame) -> pd.DataFrame:
    """Return `communication_table` of each federated strategy of a comparison."""
    tables = []
    for strategy, rows in traffic.groupby("strategy", sort=False):
        table = communication_table(rows, _n_trainings(rows))
        table.insert(0, "Strategy", STRATEGIES.get(str(strategy), str(strategy)))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def time_table(history: pd.DataFrame) -> pd.DataFrame:
    """Return the seconds of a round and of all rounds of each model, as text.

    Means over trainings; the single hospitals of a budget together.
    """
    history = history.assign(
        trained_on=history["trained_on"].where(history["arm"] != "single", "Hospital")
    )
    lines = []
    for model in models(history):
        rows = of_model(history, model)
        played = rows[rows["round"] > 0]
        n_trainings = max(int((rows["round"] == 0).sum()), 1)
        total = played["seconds"].sum(min_count=1) / n_trainings
        lines.append(
            {
                "Model": model_name(*model),
                "Trainings": f"{n_trainings:,}",
                "Rounds each": f"{played['round'].nunique():,}",
                "Seconds a round": number(played["seconds"].mean(), 1),
                "Minutes a training": number(total / 60, 1),
            }
        )
    return pd.DataFrame(lines)


@in_house_style
def traffic_figure(traffic: pd.DataFrame, history: pd.DataFrame) -> Chart:
    """Return the MiB to and from all hospitals in each round, and its seconds.

    Means over the trainings in the tables. Without known seconds: the MiB alone.

    Args:
        traffic: one row a request.
        history: one row a round and federated training.
    """
    table = traffic.groupby("round")[list(BYTES)].sum() / _n_trainings(traffic) / MIB
    table.columns = pd.Index(["sent_mib", "received_mib"])
    seconds = history.reindex(columns=["round", "seconds"]).dropna()
    is_timed = not seconds.empty
    figure, axes = (
        panels(2, height_in=4.4, stacked=True) if is_timed else panels(1, 2.8)
    )
    for name, shift, shade, label in (
        ("sent_mib", -0.2, "#0072B2", "to the hospitals"),
        ("received_mib", 0.2, "#E69F00", "from the hospitals"),
    ):
        axes[0].bar(table.index + shift, table[name], 0.4, color=shade, label=label)
    axes[0].set_ylabel("MiB, all hospitals")
    if is_timed:
        table = table.join(seconds.groupby("round")["seconds"].mean())
        axes[1].bar(table.index, table["seconds"], 0.8, color="#009E73")
        axes[1].set_ylabel("Seconds")
    axes[-1].set_xlabel("Round")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(axes[0])
    return Chart("traffic", figure, table.reset_index())


def _n_trainings(traffic: pd.DataFrame) -> int:
    """Return how many trainings the rows are of; a federation's name none: 1."""
    names = [name for name in (*MODEL_COLUMNS, "fold", "seed") if name in traffic]
    return len(traffic[names].drop_duplicates()) if names else 1
