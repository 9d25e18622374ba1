"""How good the model is on all hospitals' test patients, whose predictions stay there.

``site_results.csv`` has a row a hospital and metric: hospital (its name), node,
test_set (internal: the hospital has training cases; external: it has none), level (what
it told: metrics, histogram or scores), metric, unit, estimate, low, high, variance, n,
n_positive, n_images and outcome (``told``, or why there is nothing).

``test_results.csv`` has a row a test set and metric over the hospitals: the same
columns without those of one hospital, and bound (the value of all scores in one place
is within so much of the estimate, for certain), n_hospitals, hospitals (those with
patients in it) and method. The test set ``all`` is there where hospitals of both are.

An undefined number is missing, and has its n.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from flwr.app import Message, RecordDict

from thyroid_fl.errors import RoundError
from thyroid_fl.evaluation import classification, segmentation
from thyroid_fl.evaluation.rows import hospital_means, within
from thyroid_fl.files import write_whole
from thyroid_fl.packing import Arrays
from thyroid_fl.requests import Request
from thyroid_fl.server.hospitals import Hospitals, by_reason, connected, replies
from thyroid_fl.server.participation import add_trips
from thyroid_fl.server.result_replies import SiteResult, read_results
from thyroid_fl.settings import Study
from thyroid_fl.site_results import TEST
from thyroid_fl.statistics import Estimate
from thyroid_fl.statistics.pooled import own_auc, pooled_auc, within_hospitals_auc
from thyroid_fl.statistics.pooled_means import mean_of_sums
from thyroid_fl.strategies.arrays import packed_record
from thyroid_fl.tasks import TASKS, Task

logger = logging.getLogger(__name__)

SITE_FILE, TEST_FILE = "site_results.csv", "test_results.csv"
TOLD = "told"
SITE_COLUMNS = [
    "hospital", "node", "test_set", "level", "metric", "unit", "estimate", "low",
    "high", "variance", "n", "n_positive", "n_images", "outcome",
]  # fmt: skip
TEST_COLUMNS = [
    "test_set", "metric", "unit", "estimate", "low", "high", "variance", "bound", "n",
    "n_positive", "n_hospitals", "hospitals", "method",
]  # fmt: skip

Row = dict[str, Any]
Named = dict[str, SiteResult]
"""Results by the hospital's name."""


def ask_results(
    hospitals: Hospitals, request: Request, arrays: Arrays, out: Path
) -> None:
    """Have a model tested in all connected hospitals, and write what comes of it.

    Args:
        hospitals: whom to ask; of their study ``min_hospitals``, ``wait_s`` and
            ``round_deadline_s`` count here.
        request: its round is that of the model.
        arrays: the model, in the order of the study's.
        out: gets the two tables.

    Raises:
        RoundError: no hospital sent a usable answer; the tables say why.
    """
    study = hospitals.study
    record = packed_record(arrays, study.download)
    messages = [
        Message(RecordDict({"arrays": record}), node, f"evaluate.{TEST}")
        for node in connected(hospitals).get_node_ids()
    ]
    failed: dict[int, str] = {}
    told = {
        reply.metadata.src_node_id: reply.content
        for reply in replies(hospitals, messages, request, failed)
    }
    add_trips(out, hospitals)
    results, left_out = read_results(study, told)
    failed |= left_out
    write_results(out, study, results, failed, hospitals.names())
    if not results:
        raise RoundError(
            f"no hospital tested the model: {by_reason(hospitals, failed, [])}. "
            "The model is kept: start the study again to have it tested"
        )
    logger.info("%d hospitals tested the model, %d failed", len(results), len(failed))


def write_results(
    out: Path,
    study: Study,
    results: Mapping[int, SiteResult],
    failed: Mapping[int, str],
    names: Mapping[int, str],
) -> None:
    """Write ``site_results.csv`` and ``test_results.csv`` into a folder.

    Args:
        out: the folder.
        study: says how the numbers are called.
        results: by node.
        failed: node -> why there is no result of it.
        names: of the hospitals by node; a node without a name goes by its number.
    """
    out.mkdir(parents=True, exist_ok=True)
    for file, table in (
        (SITE_FILE, site_table(results, failed, names)),
        (TEST_FILE, pooled_table(study, results, names)),
    ):
        table.insert(0, "task", study.task)
        write_whole(out / file, partial(table.to_csv, index=False))


def site_table(
    results: Mapping[int, SiteResult],
    failed: Mapping[int, str],
    names: Mapping[int, str],
) -> pd.DataFrame:
    """Return the rows of the hospitals, by name; those without a result have NaN."""
    rows: list[Row] = []
    labels = _labels([*results, *failed], names)
    for node, result in results.items():
        for metric, estimate in _own(result).items():
            rows.append(
                {
                    "hospital": labels[node],
                    "node": node,
                    "test_set": _test_set(result),
                    "level": result.level,
                    "n_images": result.n_images,
                    "outcome": TOLD,
                    **_estimate(metric, estimate),
                }
            )
    for node, reason in failed.items():
        rows.append({"hospital": labels[node], "node": node, "outcome": reason})
    return _table(rows, SITE_COLUMNS).sort_values(
        ["hospital", "node"], kind="stable", ignore_index=True
    )


def pooled_table(
    study: Study, results: Mapping[int, SiteResult], names: Mapping[int, str]
) -> pd.DataFrame:
    """Return the rows over the hospitals: pooled, within them, and their mean."""
    labels, task = _labels(list(results), names), TASKS[study.task]
    tested = {labels[node]: each for node, each in results.items() if each.n_patients}
    by_set: dict[str, Named] = {}
    for name, result in tested.items():
        by_set.setdefault(_test_set(result), {})[name] = result
    sets = {"all": tested} | by_set if len(by_set) != 1 else by_set
    rows = [
        {"test_set": test_set, **row}
        for test_set, here in sets.items()
        for row in (_mean_rows(task, here) if task.test_means else _auc_rows(here))
    ]
    return _table(rows, TEST_COLUMNS)


def _auc_rows(tested: Named) -> Iterator[Row]:
    """Yield the AUC of all pairs, of those within hospitals, and over hospitals."""
    aucs = {name: result.auc for name, result in tested.items() if result.auc}
    known = {name: each for name, each in aucs.items() if each.bins is not None}
    pooled = pooled_auc(list(known.values()))
    row = _estimate("auc", pooled) | {"bound": pooled.bound} | _covered(known)
    if n_bare := len(aucs) - len(known):
        row["method"] += f"; without those that told metrics only: {n_bare}"
    yield row
    inside = within_hospitals_auc(list(aucs.values()))
    with_pairs = [name for name, each in aucs.items() if each.n_pairs]
    yield _estimate("auc_within_site", inside) | {"bound": 0.0} | _covered(with_pairs)
    own = {name: own_auc(each) for name, each in aucs.items()}
    counted = {
        name: found for name, found in own.items() if classification.has_enough(found)
    }
    yield from _over_hospitals("auc", counted, classification.CRITERION, len(own))


def _mean_rows(task: Task, tested: Named) -> Iterator[Row]:
    """Yield the mean over all patients, and over hospitals, of each number."""
    for metric in task.test_means:
        sums = {name: each.means[metric] for name, each in tested.items()}
        known = {name: each for name, each in sums.items() if each.n}
        pooled = within(mean_of_sums(list(known.values())))
        yield _estimate(metric, pooled) | {"bound": 0.0} | _covered(known)
        own = {name: mean_of_sums([each]) for name, each in known.items()}
        counted = {
            name: found
            for name, found in own.items()
            if found.n >= segmentation.MIN_PATIENTS and found.variance > 0
        }
        criterion = f">= {segmentation.MIN_PATIENTS} patients and a positive variance"
        yield from _over_hospitals(metric, counted, criterion, len(own))


def _over_hospitals(
    metric: str, counted: dict[str, Estimate], criterion: str, n_all: int
) -> Iterator[Row]:
    others = f"{n_all - len(counted)} others are left out"
    for row in hospital_means(metric, counted, criterion, others):
        row["estimate"] = row.pop("value")
        yield row | _covered(counted)


def _labels(nodes: list[int], names: Mapping[int, str]) -> dict[int, str]:
    """Return what each node is called; two of one name have their number with it."""
    called = {node: names.get(node, str(node)) for node in nodes}
    n_of = Counter(called.values())
    return {
        node: name if n_of[name] == 1 else f"{name} (node {node})"
        for node, name in called.items()
    }


def _own(result: SiteResult) -> dict[str, Estimate]:
    if result.auc is not None:
        return {"auc": own_auc(result.auc)}
    return {name: within(mean_of_sums([sums])) for name, sums in result.means.items()}


def _estimate(metric: str, estimate: Estimate) -> Row:
    names = ("unit", "low", "high", "variance", "n", "n_positive", "method")
    found = {name: getattr(estimate, name) for name in names}
    return {"metric": metric, "estimate": estimate.value, **found}


def _covered(names: Mapping[str, object] | list[str]) -> Row:
    return {"n_hospitals": len(names), "hospitals": "; ".join(sorted(names))}


def _test_set(result: SiteResult) -> str:
    return "external" if result.is_external else "internal"


def _table(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    counts = [name for name in columns if name.startswith("n_") or name == "n"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype(dict.fromkeys(counts, "Int64"))
