"""What a section of a comparison's page is made of, and what several share."""

from dataclasses import dataclass, field

import pandas as pd

from thyroid_fl.server.report.charts import Chart
from thyroid_fl.server.report.findings import each, summary_rows
from thyroid_fl.server.report.words import TEST_SETS, model_name


@dataclass(frozen=True, slots=True)
class Section:
    """What the template of a section sets; without tables and sentences it is absent.

    Attributes:
        sentences: what was found.
        tables: as text, by the name that the template knows.
        charts: set by the page's own macro, by their names.
    """

    sentences: tuple[str, ...] = ()
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()


def joint_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the summary rows of federated and pooled models, internal ones first.

    A single hospital's model was not trained in the other "internal" hospitals, so the
    words internal and external do not fit it.
    """
    rows = summary_rows(table)
    rows = rows[rows["arm"] != "single"]
    if "test_set" not in rows:
        return rows
    in_order = {name: i for i, name in enumerate(TEST_SETS)}
    return rows.sort_values(
        "test_set", key=lambda names: names.map(in_order), kind="stable"
    )


def with_model_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the model's name in words in the column ``model``."""
    names = [
        model_name(row.arm, row.strategy, row.budget, row.trained_on)
        for row in each(rows)
    ]
    return rows.assign(model=pd.Series(names, rows.index, dtype="str"))
