"""Agreement of readers: Kendall's W of each arm, and how much of it is no agreement.

W of m readers is about 1/m where they agree by chance only, so W of three readers and
of six do not compare: the mean Spearman correlation of pairs, (m W - 1) / (m - 1),
does. Rule-based assistance raises W by itself, because all readers get the same shift.
Two controls show how much:

AI shuffled       the shifts of all readers come from the calls on other cases, drawn at
                  random: what W rises by though the AI tells nothing
AI held constant  W among the cases that the AI calls malignant, and among the others,
                  weighted by cases: what the readers agree on besides the AI's call
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from thyroid_fl.readers.assistance import Policy, rule_based
from thyroid_fl.readers.readings import Readings
from thyroid_fl.statistics import kendall_w
from thyroid_fl.statistics.estimate import FloatArray

ALL = "all"
N_SHUFFLES = 20

Row = dict[str, Any]


def groups(level: Readings) -> list[str]:
    """Return all readers, and each experience if there are several."""
    named = [name for name in dict.fromkeys(level.experience) if name]
    return [ALL, *(named if len(named) > 1 else [])]


def agreement_table(
    levels: Iterable[Readings], policy: Policy = "clamp", seed: int = 1
) -> pd.DataFrame:
    """Return W of each arm, control and group of readers; NaN with one reader.

    Args:
        levels: what was read.
        policy: of the rule-based assistance of the control.
        seed: of the shuffles.
    """
    rows: list[Row] = []
    for number, level in enumerate(levels):
        children = np.random.SeedSequence([seed, number]).spawn(1)
        for group in groups(level):
            readers = level.group(group)
            for arm, control, weighted in _versions(level, policy, children[0]):
                rows.append(
                    {
                        "unit": level.unit,
                        "group": group,
                        "arm": arm,
                        "control": control,
                        **_agreement(weighted, readers),
                    }
                )
    return pd.DataFrame(rows)


def _versions(
    level: Readings, policy: Policy, seed: np.random.SeedSequence
) -> Iterator[tuple[str, str, list[FloatArray]]]:
    """Yield arm, control, and the tables (R, n) whose W are averaged by n."""
    for arm, ratings in level.arms.items():
        yield arm, "", [ratings]
    if level.calls is None or "rule_based" not in level.arms:
        return
    ratings, calls = level.arms["rule_based"], level.calls
    if level.is_category["unaided"]:
        codes = level.arms["unaided"].astype(np.int64)
        rng = np.random.default_rng(seed)
        shuffled = [
            rule_based(codes, rng.permutation(calls), policy).astype(np.float64)
            for _ in range(N_SHUFFLES)
        ]
        yield "rule_based", "AI shuffled", shuffled
    yield "rule_based", "AI held constant", [ratings[:, calls], ratings[:, ~calls]]


def _agreement(tables: list[FloatArray], readers: npt.NDArray[np.intp]) -> Row:
    found = [kendall_w(table[readers].T) for table in tables]
    n_cases = [one.n for one in found]
    defined = [one for one in found if not np.isnan(one.w)]
    w = (
        float(np.average([one.w for one in defined], weights=[o.n for o in defined]))
        if defined
        else np.nan
    )
    m = len(readers)
    return {
        "n_readers": m,
        "w": w,
        "w_by_chance": 1 / m,
        "mean_spearman": (m * w - 1) / (m - 1) if m > 1 else np.nan,
        "p_value": found[0].p_value if len(found) == 1 else np.nan,
        "n": max(n_cases) if len(set(n_cases)) == 1 else sum(n_cases),
    }
