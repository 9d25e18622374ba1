"""The trainings of a generalisation matrix: who is trained on what.

Sources are hospitals, vendors or regions. Every training sees as many pictures as the
one on all of them, whatever it was given: what differs is which, not how long.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import pandas as pd

from thyroid_fl.client.site import ALL_HOSPITALS
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.evaluation.matrix import EQUAL, OTHER_VENDORS, OTHERS
from thyroid_fl.settings import Study
from thyroid_fl.simulation.arms import FOREVER_S, Training, can_select
from thyroid_fl.simulation.design import draw_patients

By = Literal["hospital", "vendor", "region"]
MOST_SOURCES = {"hospital": 8, "vendor": 5, "region": 2}
"""As the paper: 8 hospitals; 5 vendors, the others together one more; 2 regions."""

Sides = dict[str, "pd.Series[str]"]


def source_cases(table: pd.DataFrame, by: str, most: int) -> pd.DataFrame:
    """Return the pictures that take part, their source as ``hospital``.

    The sources are the largest by patients; with ``vendor`` the others form one more,
    `OTHER_VENDORS`. Patients with pictures of several sources, or of none that is
    known, take no part.

    Args:
        table: an archive's, split.
        by: column that names the source.
        most: how many sources, `OTHER_VENDORS` not counted; 0: as the paper.

    Raises:
        ConfigError: ``by`` is unknown, or fewer than two sources have training and
            test patients.
        ManifestError: the manifest does not say it.
    """
    if by not in get_args(By):
        raise ConfigError(f"by is {by!r}; expected one of: {', '.join(get_args(By))}")
    table = table[table["split"].notna()]
    if table[by].isna().all():
        raise ManifestError(f"the manifest's column {by} is empty: fill it")
    n_sources = table.groupby("patient_id")[by].transform("nunique")
    cases = table[(n_sources == 1) & table[by].notna()]
    sizes = cases.groupby(by)["patient_id"].nunique().sort_index()
    sizes = sizes.sort_values(ascending=False, kind="stable")
    largest = sizes.index[: most or MOST_SOURCES[by]]
    rest = OTHER_VENDORS if by == "vendor" else None
    source = cases[by].where(cases[by].isin(largest), rest)
    cases = cases.assign(hospital=source)[source.notna()]
    sides = pd.crosstab(cases["hospital"], cases["split"])
    sides = sides.reindex(columns=["train", "test"], fill_value=0)
    lacking = sides[(sides == 0).any(axis=1)]
    if len(lacking) or len(sides) < 2:
        named = ", ".join(map(str, lacking.index)) or "only one source"
        raise ConfigError(
            f"a matrix by {by} needs two or more sources with patients to train and "
            f"to test; without: {named}. Ask for fewer sources, or another split"
        )
    return cases


def sources_of(cases: pd.DataFrame) -> list[str]:
    """Return the sources, the largest first, `OTHER_VENDORS` last."""
    sizes = cases.groupby("hospital")["patient_id"].nunique()
    names = sizes.sort_index().sort_values(ascending=False, kind="stable").index
    return sorted(map(str, names), key=lambda name: name == OTHER_VENDORS)


def design_sides(cases: pd.DataFrame, seed: int) -> Sides:
    """Return the sides of each training by its name, see `trainings_of`.

    All test patients are tested by every training.

    Args:
        cases: as `source_cases` returns them.
        seed: of the draw of patients for the trainings of equal size.
    """
    rng = np.random.default_rng([seed, 0x3A7])
    sides: Sides = {"all": cases["split"]}
    is_test = cases["split"] == "test"
    strata = cases.assign(malignant=cases["malignant"].fillna(-1))
    for source in sources_of(cases):
        own = cases["hospital"] == source
        drawn = pd.Series(False, cases.index)
        for side in ("train", "val"):
            here = strata[cases["split"] == side]
            n = here.loc[own, "patient_id"].nunique()
            of_side = draw_patients(here, n, ["hospital", "malignant"], rng)
            drawn |= of_side.reindex(cases.index, fill_value=False)
        for name, chosen in (("own", own), (OTHERS, ~own), (EQUAL, drawn)):
            sides[f"{name} {source}"] = cases["split"].where(chosen | is_test)
    return sides


def trainings_of(study: Study, cases: pd.DataFrame, sides: Sides) -> list[Training]:
    """Return the trainings of one seed: federated, all, and three for each source.

    Args:
        study: the split is that of the design; fold is set here.
        cases: as `source_cases` returns them.
        sides: as `design_sides` returns them; a training's fold is its place there.
    """
    # Hospitals run one after another here: a deadline on the clock would cut some off.
    study = dataclasses.replace(
        study, round_deadline_s=FOREVER_S, min_hospitals=1, n_folds=len(sides), fold=1
    )
    return [
        Training(
            arm="federated",
            budget="",
            trained_on=ALL_HOSPITALS,
            hospitals=tuple(sorted(sources_of(cases))),
            study=study,
        ),
        *_in_one_place(dataclasses.replace(study, strategy="fedavg"), cases, sides),
    ]


def _in_one_place(
    study: Study, cases: pd.DataFrame, sides: Sides
) -> Iterator[Training]:
    n_all = int((sides["all"] == "train").sum())
    for fold, (name, side) in enumerate(sides.items(), 1):
        kind, _, source = name.partition(" ")
        epochs = study.local_epochs * n_all / int((side == "train").sum())
        own = dataclasses.replace(study, fold=fold, local_epochs=max(1, round(epochs)))
        if not can_select(own, cases[side == "val"]):
            own = dataclasses.replace(own, select_by="last")
        yield Training(
            arm="single" if kind == "own" else "pooled",
            budget=kind if kind in (OTHERS, EQUAL) else "",
            trained_on=source or ALL_HOSPITALS,
            hospitals=(ALL_HOSPITALS,),
            study=own,
        )
