"""What data the hospitals have: ask them all, and write what they told.

The federation's own Tables 1 and 2, and a figure; no training, and no model.
"""

import logging
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from flwr.app import Message, RecordDict

from thyroid_fl.errors import RoundError
from thyroid_fl.requests import Request
from thyroid_fl.server.hospitals import Hospitals, by_reason, connected, replies
from thyroid_fl.server.report.charts import save_chart
from thyroid_fl.server.report.summary_figure import summary_figure
from thyroid_fl.server.report.summary_tables import table_1, table_2
from thyroid_fl.server.summary_replies import Summary, read_summary
from thyroid_fl.strategies.replies import UnusableReplyError
from thyroid_fl.summary import QUERY, TABLES, WITHHELD

logger = logging.getLogger(__name__)


def summarise(hospitals: Hospitals, out: Path) -> None:
    """Ask all connected hospitals, and write tables and figure into a folder.

    Args:
        hospitals: whom to ask; of their study ``min_hospitals``, ``wait_s`` and
            ``round_deadline_s`` count here.
        out: gets ``table_1.csv``, ``table_2.csv``, ``hospitals.csv`` (who told what,
            and what became of the others), and ``summary`` as SVG, PNG and CSV.

    Raises:
        RoundError: fewer hospitals than ``min_hospitals`` sent a usable answer.
    """
    summaries, failed = ask_hospitals(hospitals)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as scratch:
        folder = Path(scratch)
        table_1(summaries).to_csv(folder / "table_1.csv", index=False)
        table_2(summaries).to_csv(folder / "table_2.csv", index=False)
        told = hospitals_table(summaries, failed)
        told.to_csv(folder / "hospitals.csv", index=False)
        save_chart(summary_figure(summaries), folder)
        for path in folder.iterdir():
            path.replace(out / path.name)
    logger.info(
        "%d hospitals told what data they have, %d failed", len(summaries), len(failed)
    )


def ask_hospitals(hospitals: Hospitals) -> tuple[list[Summary], dict[int, str]]:
    """Return what the hospitals told, by node; and the nodes that failed, with why.

    Raises:
        RoundError: fewer hospitals than ``min_hospitals`` sent a usable answer.
    """
    study = hospitals.study
    request = Request(study_id=uuid.uuid4().hex, server_round=0)
    messages = [
        Message(RecordDict(), node, f"query.{QUERY}")
        for node in connected(hospitals).get_node_ids()
    ]
    summaries: list[Summary] = []
    failed: dict[int, str] = {}
    for reply in replies(hospitals, messages, request, failed):
        try:
            summaries.append(read_summary(reply))
        except UnusableReplyError as fault:
            node = reply.metadata.src_node_id
            failed[node] = str(fault)
            logger.warning("%s is left out: %s", hospitals.name(node), fault)
    if len(summaries) < study.min_hospitals:
        raise RoundError(
            f"{len(summaries)} hospitals told what data they have, min_hospitals is "
            f"{study.min_hospitals}. Others: {by_reason(hospitals, failed, [])}. "
            "Ask again when that is mended"
        )
    return sorted(summaries, key=lambda summary: summary.node), failed


def hospitals_table(
    summaries: Sequence[Summary], failed: Mapping[int, str]
) -> pd.DataFrame:
    """Return one row per hospital with every count that it told; NaN where it did not.

    Columns node, min_cell, n_patients, n_images, answer (``told``, ``fewer than 5
    patients``, or why there is none), and ``TABLE: CELL`` with its patients.
    """
    rows = []
    for summary in summaries:
        is_tiny = summary.n_patients == WITHHELD
        row: dict[str, object] = {
            "node": summary.node,
            "min_cell": summary.min_cell,
            "n_patients": summary.n_patients,
            "n_images": summary.n_images,
            "answer": f"fewer than {summary.min_cell} patients" if is_tiny else "told",
        }
        for table, counts in summary.patients.items():
            columns = (f"{table}: {cell}" for cell in TABLES[table])
            row |= dict(zip(columns, counts, strict=True))
        rows.append(row)
    rows += [{"node": node, "answer": reason} for node, reason in failed.items()]
    hospitals = pd.DataFrame(rows)
    names = hospitals.columns.difference(["node", "answer"], sort=False)
    numbers = hospitals[names]
    hospitals[names] = numbers.where(numbers != WITHHELD).astype("Int64")
    return hospitals.sort_values("node", ignore_index=True)
