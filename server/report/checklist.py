"""The checklists CLAIM 2024 and TRIPOD+AI, filled where the software knows the answer.

``checklist.csv`` beside this file has the items: guideline, item, section, topic (in
our own words), the fact that answers it, and whether that fact is the whole answer or a
part. An item without a known fact is for the authors: ethics, funding, the reference
standard. What the facts are: `thyroid_fl.server.report.checklist_facts`.

CLAIM: Tejani et al., Radiol Artif Intell 2024;6(4):e240300. TRIPOD+AI: Collins et al.,
BMJ 2024;385:e078378.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thyroid_fl.server.report.findings import each

AUTHORS = "for the authors"
ANSWERED_BY = {"whole": "software", "part": "software, in part"}
COLUMNS = ["guideline", "item", "section", "topic", "answer", "by", "where"]
_ITEMS = Path(__file__).with_name("checklist.csv")


@dataclass(frozen=True, slots=True)
class Fact:
    """What the software knows of a study."""

    text: str
    where: str
    """Id of the page's section that has more."""


def filled_checklist(facts: Mapping[str, Fact]) -> pd.DataFrame:
    """Return one row an item, in the order of the guidelines, with `COLUMNS`.

    Args:
        facts: what is known, by name; an item whose fact is absent is for the authors.
    """
    rows = []
    for item in each(read_items()):
        fact = facts.get(item.fact)
        rows.append(
            {
                "guideline": item.guideline,
                "item": item.item,
                "section": item.section,
                "topic": item.topic,
                "answer": fact.text if fact else "",
                "by": ANSWERED_BY[item.share] if fact else AUTHORS,
                "where": fact.where if fact else "",
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def by_guideline(checklist: pd.DataFrame) -> dict[str, list[dict[Hashable, str]]]:
    """Return the rows of each guideline, as the page sets them."""
    return {
        str(name): rows.to_dict("records")
        for name, rows in checklist.groupby("guideline", sort=False)
    }


def read_items() -> pd.DataFrame:
    """Return the items as they stand in the file, all text."""
    return pd.read_csv(_ITEMS, dtype="str", keep_default_na=False)
