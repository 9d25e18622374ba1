"""Everything that a comparison concludes, a sentence each, for terminal and report."""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from thyroid_fl.server.report.findings import Run, each, main_rows
from thyroid_fl.server.report.sections.calibration import calibration_section
from thyroid_fl.server.report.sections.gap import gap_section, gap_sentences
from thyroid_fl.server.report.sections.harm import harm_section, harm_sentences
from thyroid_fl.server.report.sections.operating import operating_section
from thyroid_fl.server.report.sections.seeds import seed_sentences, seeds_section
from thyroid_fl.server.report.sections.subgroups import subgroup_section
from thyroid_fl.server.report.words import (
    METRICS,
    STRATEGIES,
    TEST_SETS,
    interval,
    verdict,
)

SECTIONS: Final = {
    "seeds": seeds_section,
    "gap": gap_section,
    "harm": harm_section,
    "operating": operating_section,
    "calibration": calibration_section,
    "subgroups": subgroup_section,
}
"""The templates of the same names are in ``sections/``."""
_TEST_SET_WORDS = {
    "internal": "On new patients of the hospitals that trained (internal)",
    "external": "On hospitals that took no part in training (external)",
}


def conclusions(run: Run) -> list[str]:
    """Return the sentences on one task: differences, gap, harm, trainings."""
    return [
        *headlines(run.comparisons),
        *gap_sentences(run),
        *harm_sentences(run),
        *seed_sentences(run),
    ]


def headlines(comparisons: pd.DataFrame) -> list[str]:
    """Return what the comparison shows and does not show, one sentence each.

    The single hospital named is the one that did best on that very test set: chosen
    in hindsight, in its favour. Only ``tuned`` ones count where there are any.

    Args:
        comparisons: the rows of one task in the table ``comparisons.csv``.
    """
    rows = main_rows(comparisons)
    strategies = list(dict.fromkeys(rows["strategy"]))
    sentences = []
    for test_set in reversed(TEST_SETS):
        of_set = rows[rows["test_set"] == test_set]
        if of_set.empty and test_set == "external":
            sentences.append(
                "No hospital was kept out of training: nothing here speaks for a "
                "hospital outside the federation."
            )
        for strategy in strategies:
            found = _against(of_set[of_set["strategy"] == strategy])
            name = STRATEGIES.get(strategy, strategy) if len(strategies) > 1 else ""
            sentences += [_sentence(test_set, name, row) for row in found]
    return sentences


def _against(rows: pd.DataFrame) -> Iterator[Any]:
    """Yield the hardest single opponent and the pooled model, where there are any."""
    for kind in ("single (tuned)", "single (matched)"):
        single = rows[rows["comparison"] == f"federated - {kind}"]
        if not single.empty:
            yield next(each(single.sort_values("difference")))
            break
    yield from each(rows[rows["comparison"] == "federated - pooled"])


def _sentence(test_set: str, strategy: str, row: Any) -> str:
    federated = f"federated ({strategy})" if strategy else "federated"
    other = "pooled"
    if "single" in row.comparison:
        budget = row.comparison.partition("(")[2].removesuffix(")")
        other = f"the best single hospital ({row.trained_on}, {budget})"
    shows = verdict(row.low, row.high)
    if shows == "federated better" and "matched" in row.comparison:
        shows += " than at its own few steps, which is no claim of superiority"
    difference = interval(row.difference, row.low, row.high, sign=True)
    difference = difference.replace("(", "(95% CI ")
    return (
        f"{_TEST_SET_WORDS[test_set]}, {federated} minus {other}: "
        f"{METRICS[row.metric]} {difference}: {shows}."
    )
