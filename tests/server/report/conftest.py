"""Folders as ``thyroid-sim compare`` and a federation write them: drawn scores."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from safetensors.numpy import save_file
from scipy.stats import norm

from thyroid_fl.client.results import told_of
from thyroid_fl.evaluation import comparisons_table, results_table
from thyroid_fl.evaluation.further import further_tables
from thyroid_fl.evaluation.matrix import (
    CELL_COLUMNS,
    DIFFERENCE_COLUMNS,
    MIXED,
    WITHIN,
)
from thyroid_fl.evaluation.predictions import Model
from thyroid_fl.server.participation import add_round
from thyroid_fl.server.result_replies import read_results
from thyroid_fl.server.site_results import write_results
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation import reader_study
from thyroid_fl.site_results import LEVELS
from thyroid_fl.strategies.replies import Tally
from thyroid_fl.tasks import TASKS

HOSTILE = "H003 <script>alert(1)</script> & Söhne"
MODELS = {  # model: its AUC on internal and external hospitals, about
    Model("federated", "fedavg", "", "all"): (0.90, 0.88),
    Model("federated", "fedprox", "", "all"): (0.89, 0.88),
    Model("pooled", "", "", "all"): (0.90, 0.885),
    Model("single", "", "tuned", "H000"): (0.80, 0.72),
    Model("single", "", "matched", "H000"): (0.74, 0.70),
    Model("single", "", "matched", "H001"): (0.73, 0.68),
    Model("single", "", "matched", HOSTILE): (0.70, 0.66),
}
PROVENANCE: dict[str, Any] = {
    "command": "thyroid-sim compare --seeds 2 --out 'demo study'",
    "versions": {"thyroid-fl": "0.1.0", "torch": "2.15.0", "python": "3.11.2"},
    "machine": {"processor": "Some CPU", "cores": 2, "device": "cpu"},
    "manifest_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0",
    "git_commit": None,
    "started": "2026-01-05T10:00:00+0000",
    "seconds": 243.2,
    "strategies": ["fedavg"],
    "seeds": 2,
    "folds": 0,
    "cohort": {"scale": 0.15, "east_coast": ["Beijing", "Shanghai"]},
    "bayes_auc": 0.931,
}
VENDORS = ("GE <b>", "Philips", "NA")
PLANTED = {  # kind -> value at home (or anywhere), elsewhere
    "single": (0.90, 0.80), "others": (0.78, 0.86), "equal": (0.85, 0.85),
    "mixed": (0.89, 0.89), "federated": (0.87, 0.87),
}  # fmt: skip
NODES = [2**62 + k for k in range(4)]
NAMES = dict(
    zip(NODES, ["Nord", "Süd <script>alert(1)</script>", "NA", "Zwerg"], strict=True)
)
TOLD_LEVELS = ("scores", "histogram", "histogram", "metrics")


@pytest.fixture(scope="session")
def write_matrix() -> Callable[..., Path]:
    """Return a function that writes a matrix by vendor.

    ``changes`` are values by ``kind source column``.
    """
    return _write_matrix


@pytest.fixture(scope="session")
def study_folder(write_study: Callable[..., Path]) -> Path:
    """Return a finished study: 40 hospitals, 6 models, 2 seeds."""
    return write_study("demo study")


@pytest.fixture(scope="session")
def full_folder(
    study_folder: Path,
    write_matrix: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a finished study with a matrix, an optimism and readers within."""
    folder = tmp_path_factory.mktemp("full") / "full study"
    shutil.copytree(study_folder, folder)
    write_matrix(folder / "vendors")
    optimism = {
        "task": "classification", "arm": "pooled", "strategy": "", "budget": "",
        "trained_on": "all", "unit": "patient", "metric": "auc", "internal": 0.9,
        "external": 0.8, "difference": 0.1, "low": 0.05, "high": 0.15,
        "n_internal": 200, "n_external": 400, "fold": "mean", "seed": "mean",
    }  # fmt: skip
    (folder / "random").mkdir()
    pd.DataFrame([optimism]).to_csv(folder / "random/optimism.csv", index=False)
    (folder / "random/words.txt").write_text("The random split <b>flatters</b>.\n")
    reader_study.study(None, folder / "readers", simulate=True, scale=0.05)
    return folder


@pytest.fixture(scope="session")
def write_study(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a study with this name and these choices."""
    root = tmp_path_factory.mktemp("runs")

    def write(
        name: str,
        *,
        seeds: int = 2,
        strategies: tuple[str, ...] = ("fedavg",),
        provenance: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Path:
        return _write(root / name, seeds, strategies, provenance or {}, settings)

    return write


@pytest.fixture(scope="session")
def nodes() -> list[int]:
    """Return the nodes of the federation."""
    return NODES


@pytest.fixture(scope="session")
def federation_folder(
    write_federation: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a finished federation: 4 hospitals, one of them external, 3 rounds."""
    return write_federation(tmp_path_factory.mktemp("runs") / "demo federation")


@pytest.fixture(scope="session")
def write_federation() -> Callable[..., Path]:
    """Return a function that writes a federation; not ``asked``: its rounds alone."""

    def write(
        folder: Path, task: str = "classification", *, asked: bool = True
    ) -> Path:
        study = make_study(task=task, rounds=3, strategy="fedprox")
        _write_rounds_of(folder, study)
        if asked:
            _write_lines(folder)
            _write_test(folder, study)
        return folder

    return write


def _write(
    folder: Path,
    seeds: int,
    strategies: tuple[str, ...],
    provenance: dict[str, Any],
    settings: dict[str, Any],
) -> Path:
    folder.mkdir(parents=True)
    study = make_study(rounds=8, **settings)
    models = {m: auc for m, auc in MODELS.items() if m.strategy in ("", *strategies)}
    hospitals = _hospitals(n_external=0 if study.split == "patient" else 8)
    cases = _cases(hospitals)
    runs = [(seed, *item) for seed in range(1, seeds + 1) for item in models.items()]
    predictions = pd.concat([_scored(cases, *run) for run in runs], ignore_index=True)
    history = pd.concat([_history(*run, study.rounds) for run in runs])
    predictions.to_parquet(folder / "predictions.parquet")
    results_table(predictions).to_csv(folder / "results.csv", index=False)
    comparisons_table(predictions).to_csv(folder / "comparisons.csv", index=False)
    write_further(folder, predictions, hospitals)
    history.to_csv(folder / "history.csv", index=False)
    hospitals.to_csv(folder / "hospitals.csv", index=False)
    _baseline(hospitals).to_csv(folder / "baseline.csv", index=False)
    _left_out().to_csv(folder / "left_out.csv", index=False)
    _traffic(hospitals, strategies, seeds, study.rounds).to_csv(
        folder / "traffic.csv", index=False
    )
    settings = {study.task: json.loads(study.to_json())}
    (folder / "study.json").write_text(json.dumps(settings))
    (folder / "provenance.json").write_text(json.dumps(PROVENANCE | provenance))
    return folder


def write_further(
    folder: Path, predictions: pd.DataFrame, hospitals: pd.DataFrame
) -> None:
    """Write the further tables, of patients whose age and sex are drawn."""
    images = pd.Series(predictions["image_id"].unique())
    random = np.random.default_rng(5)
    cases = pd.DataFrame(
        {
            "image_id": images,
            "age": random.normal(46, 13, len(images)),
            "sex": random.choice(["female", "male"], len(images)),
        }
    )
    sizes = {
        str(task): dict(zip(of_task["hospital"], of_task["n_train"], strict=True))
        for task, of_task in hospitals.groupby("task")
    }
    tables = further_tables(predictions, cases, sizes, n_resamples=50)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def _hospitals(n_external: int, n: int = 40) -> pd.DataFrame:
    random = np.random.default_rng(7)
    size = np.sort(random.lognormal(3.6, 1.0, n).astype(int) + 6)[::-1]
    others = random.permutation(np.arange(4, n))
    is_external = np.isin(np.arange(n), others[:n_external])
    names = [f"H{i:03d}" for i in range(n)]
    names[3] = HOSTILE
    return pd.DataFrame(
        {
            "task": "classification",
            "hospital": names,
            "region": random.choice(["east_coast", "inland"], n),
            "vendor": random.choice(["GE", "Philips", "Mindray"], n),
            "n_patients": size,
            "n_images": size * 2,
            "n_registered": size * 2,
            "n_readable": size * 2,
            "n_usable": size * 2,
            "n_malignant_patients": (size * 0.62).astype(int),
            "role": np.where(is_external, "external test", "trainer"),
            "n_train": np.where(is_external, 0, size),
            "n_val": np.where(is_external, 0, size // 2),
            "n_test": np.where(is_external, size * 2, size // 2),
        }
    )


def _baseline(hospitals: pd.DataFrame) -> pd.DataFrame:
    """Return the counts of each stage; of ten patients six are malignant, all are F."""
    is_trainer = hospitals["role"] == "trainer"
    images = {
        "registered": hospitals["n_registered"] + 1,
        "readable": hospitals["n_readable"],
        "usable": hospitals["n_usable"],
        "train": hospitals["n_train"],
        "val": hospitals["n_val"],
        "internal": hospitals["n_test"].where(is_trainer, 0),
        "external": hospitals["n_test"].where(~is_trainer, 0),
    }
    cells = {
        ("patients", "all"): 10, ("class", "benign"): 4, ("class", "malignant"): 6,
        ("class", "unknown"): 0, ("sex", "F"): 10, ("sex", "M"): 0,
        ("sex", "unknown"): 0, ("vendor", "GE Healthcare"): 7, ("vendor", "other"): 3,
    }  # fmt: skip
    rows = [
        {
            "task": "classification",
            "stage": stage,
            "characteristic": characteristic,
            "cell": cell,
            "n_hospitals": (n > 0).sum(),
            "n_patients": n.sum() // 20 * tenths,
            "percent": 10 * tenths if n.sum() else np.nan,
            "n_images": n.sum() // 10 * tenths,
            "age_q1": 37.0 if n.sum() and tenths else np.nan,
            "age_median": 46.0 if n.sum() and tenths else np.nan,
            "age_q3": 55.0 if n.sum() and tenths else np.nan,
            "n_age": n.sum() // 20 * tenths,
        }
        for stage, n in images.items()
        for (characteristic, cell), tenths in cells.items()
        if stage != "registered" or cell == "all"
    ]
    return pd.DataFrame(rows)


def _left_out() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "task": "classification",
            "stage": ["readable", "usable"],
            "reason": ["no box of the nodule", "the column malignant is empty"],
            "n_images": [40, 3],
        }
    )


def _traffic(
    hospitals: pd.DataFrame, strategies: tuple[str, ...], seeds: int, rounds: int
) -> pd.DataFrame:
    """Return 2 MiB to each hospital and 1 MiB back in each training."""
    rows = [
        {
            "task": "classification", "arm": "federated", "strategy": strategy,
            "budget": "", "trained_on": "all", "fold": 0, "seed": seed,
            "round": server_round, "step": step, "hospital": hospital,
            "outcome": "answered", "sent_bytes": 2 * 2**20,
            "received_bytes": 2**20 if step == "train" else 150, "seconds": 1.0,
        }
        for strategy in strategies
        for seed in range(1, seeds + 1)
        for server_round in range(rounds + 1)
        for step in (("train", "evaluate") if server_round else ("evaluate",))
        for hospital in hospitals["hospital"]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _cases(hospitals: pd.DataFrame) -> pd.DataFrame:
    """Return two images of every validation and test patient, with their difficulty."""
    random = np.random.default_rng(3)
    parts = []
    for row in hospitals.itertuples():
        is_external = row.role == "external test"
        n = row.n_patients if is_external else row.n_patients // 2
        patients = pd.DataFrame(
            {
                "patient_id": [f"{row.hospital}-{i}" for i in range(n)],
                "malignant": (random.random(n) < 0.62).astype(int),
                "ease": random.normal(size=n),
                "split": np.where(np.arange(n) % 4 < 3 + is_external, "test", "val"),
                "test_set": "external" if is_external else "internal",
            }
        )
        parts.append(patients.assign(hospital=row.hospital, vendor=row.vendor))
    patients = pd.concat(parts)
    images = pd.concat([patients, patients], ignore_index=True)
    return images.assign(image_id=[f"i{i}" for i in range(len(images))])


def _scored(
    cases: pd.DataFrame, seed: int, model: Model, auc: tuple[float, float]
) -> pd.DataFrame:
    """Return binormal scores around each patient's own difficulty."""
    random = np.random.default_rng([seed, *map(ord, "".join(model))])
    separation = norm.ppf(np.where(cases["test_set"] == "internal", *auc)) * 2**0.5
    noise = 0.8 * cases["ease"] + 0.6 * random.normal(size=len(cases))
    return cases.drop(columns="ease").assign(
        task="classification",
        **model._asdict(),
        fold=0,
        seed=seed,
        score=norm.cdf((separation * cases["malignant"] + noise) / 2),
    )


def _history(
    seed: int, model: Model, auc: tuple[float, float], rounds: int
) -> pd.DataFrame:
    progress = 1 - np.exp(-np.arange(rounds + 1) / 3)
    return pd.DataFrame(
        {
            "task": "classification",
            **model._asdict(),
            "fold": 0,
            "seed": seed,
            "round": np.arange(rounds + 1),
            "train_loss": 0.7 - 0.3 * progress,
            "loss": 0.7 - 0.3 * (auc[0] - 0.4) * progress,
            "auc": 0.5 + (auc[0] - 0.5) * progress,
            "n_hospitals": 32 if model.arm == "federated" else 1,
            "n_examples": 1200,
            "seconds": 3.0,
            "learning_rate": 1e-3,
        }
    )


def _write_rounds_of(folder: Path, study: Study) -> None:
    """Write what the round engine keeps of three rounds."""
    history = [
        {"round": k, "loss": 0.7 - 0.1 * k, "auc": 0.5 + 0.1 * k, "n_hospitals": 3 - k}
        for k in range(4)
    ]
    saved = {
        "last_round": 3,
        "best_round": 2,
        "history": history,
        "study": json.loads(study.to_json()),
    }
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "checkpoint.json").write_text(json.dumps(saved))
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    model = {"w": np.zeros(2, "f4")}
    save_file(model, folder / "model.safetensors", {"thyroid_fl": "0.1.0"})


def _write_lines(folder: Path) -> None:
    """Write who took part and what went over the lines; node 1 fails in 1 and 3."""
    counts = {"n-registered": 90, "n-readable": 80, "n-usable": 70, "n-used": 60}
    told = RecordDict({"counts": ConfigRecord(counts)})
    for k in (1, 2, 3):
        used = [node for node in NODES[:3] if k == 2 or node != NODES[1]]
        failed = {} if k == 2 else {NODES[1]: "no reply within 9 s"}
        tally = Tally(used=used, told=dict.fromkeys([*used, NODES[3]], told))
        add_round(folder, k, tally, failed, NAMES)
    table = pd.read_csv(folder / "participation.csv")
    traffic = table[["round", "node", "hospital"]].assign(step="train")
    traffic.assign(sent_bytes=3 * 2**20, received_bytes=2**20, seconds=2.5).to_csv(
        folder / "traffic.csv", index=False
    )


def _reply(number: int, task: str, level: str, n: int) -> RecordDict:
    """Return what a hospital of n patients says."""
    rng = np.random.default_rng(number)
    labels = np.arange(n) % 2
    cases = pd.DataFrame(
        {
            "malignant": labels,
            "score": 1 / (1 + np.exp(-4 * rng.normal(labels - 0.5, 0.6))),
            "dice": rng.beta(8, 3, n),
            "iou": rng.beta(6, 4, n),
        }
    )
    patients = pd.Series([f"secret-{k}" for k in range(n)], dtype="str")
    told = told_of(TASKS[task], cases, patients, level)
    place = {"level": LEVELS.index(level), "is-external": int(number == 2)}
    return RecordDict({"results": MetricRecord(place | {"n-images": n} | told)})


def _write_test(folder: Path, study: Study) -> None:
    """Write the test results of hospitals with these levels."""
    replies = {
        node: _reply(k, study.task, level, n)
        for k, (node, level, n) in enumerate(
            zip(NODES, TOLD_LEVELS, (120, 80, 60, 8), strict=True)
        )
    }
    results, left_out = read_results(study, replies)
    assert left_out == {}
    write_results(folder, study, results, {77: "auc is 7"}, NAMES)


def _write_matrix(folder: Path, *, n_seeds: int = 3, **changes: float) -> Path:
    """Write a matrix; ``changes`` are values by ``kind source column``."""
    rows = []
    for kind, (home, away) in PLANTED.items():
        for source in [""] if kind in ("mixed", "federated") else VENDORS:
            for column in (*VENDORS, MIXED, WITHIN):
                value = home if source in ("", column) else away
                value = changes.get(f"{kind} {source} {column}", value)
                rows.append(
                    {
                        "task": "classification",
                        "kind": kind,
                        "source": source,
                        "column": column,
                        "unit": "patient",
                        "metric": "auc",
                        "value": value,
                        "low": value - 0.03,
                        "high": value + 0.03,
                        "n": 90,
                        "n_positive": 50,
                        "seed_sd": 0.01,
                        "n_seeds": n_seeds,
                        "method": "DeLong",
                    }
                )
    differences = [
        {
            "task": "classification",
            "comparison": name,
            "source": source,
            "column": column,
            "unit": "patient",
            "metric": "auc",
            "difference": 0.05,
            "low": low,
            "high": 0.09,
            "p_value": 0.01,
            "p_holm": 0.04,
            "n": 90,
            "n_positive": 50,
            "n_seeds": n_seeds,
            "method": "DeLong",
        }
        for name, low in (
            ("diversity", 0.01),
            ("size", -0.02),
            ("mixed - single", -0.1),
        )
        for source in VENDORS
        for column in (*VENDORS, MIXED)
    ]
    counts = {"patients": 90, "malignant": 45, "images": 180}
    of_side = {
        f"n_{s}_{k}": n for s in ("train", "val", "test") for k, n in counts.items()
    }
    sources = pd.DataFrame({"source": VENDORS, **of_side})
    folder.mkdir()
    cells = pd.DataFrame(rows, columns=CELL_COLUMNS)
    cells.to_csv(folder / "matrix.csv", index=False)
    table = pd.DataFrame(differences, columns=DIFFERENCE_COLUMNS)
    table.to_csv(folder / "differences.csv", index=False)
    sources.to_csv(folder / "sources.csv", index=False)
    study = json.loads(make_study(split="patient").to_json())
    (folder / "study.json").write_text(json.dumps({"classification": study}))
    facts = PROVENANCE | {"by": "vendor"}
    (folder / "provenance.json").write_text(json.dumps(facts))
    return folder
