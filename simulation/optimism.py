"""How much better a random split makes a model look than hospitals that were held out.

``optimism`` is what ``thyroid-sim optimism`` and Jupyter call: the same models, pooled
and federated, trained twice on equally many pictures, once with the patients split at
random and once with hospitals held out. It can be interrupted and called again with the
same settings, as the comparison.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thyroid_fl.client.site import Archive, open_archive
from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation.gap import gap_table, optimism_table
from thyroid_fl.server.report.optimism import optimism_in_words, optimism_sentences
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.arms import Training, check_arms, plan
from thyroid_fl.simulation.design import draw_patients, write_design
from thyroid_fl.simulation.progress import Progress
from thyroid_fl.simulation.provenance import manifest_hash, provenance
from thyroid_fl.simulation.run_folder import (
    SYNTHETIC,
    identity,
    open_data,
    refuse_faults,
    refuse_missing,
    side_by_side,
    write_contents,
    write_json,
)
from thyroid_fl.simulation.workers import PREDICTIONS, train_all

SPLITS = ("patient", "hospital")
"""The random split, and the one that holds hospitals out: folds 1 and 2."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimism:
    """The folder of a finished run, and its tables.

    Attributes:
        folder: optimism.csv, gap.csv, predictions.parquet, the trainings.
        table: test patients of the random split (internal) minus those of the
            hospitals held out (external), each with its own models (optimism.csv).
        gap: internal minus external of the models with hospitals held out (gap.csv).
        n_training: training pictures under the random split, and with hospitals held
            out.
        sentences: what it shows and does not show (words.txt).
    """

    folder: Path
    table: pd.DataFrame
    gap: pd.DataFrame
    n_training: tuple[int, int]
    sentences: list[str]

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{line}</li>" for line in self.sentences)
        return f"{optimism_in_words(self.table).to_html(index=False)}<ul>{said}</ul>"


def optimism(
    *,
    data: str | Path = SYNTHETIC,
    task: str = "classification",
    out: str | Path = "runs/optimism",
    strategies: Sequence[str] = ("fedavg",),
    seeds: int = 3,
    scale: float = 0.2,
    jobs: int = 0,
    progress: bool = True,
    **settings: Any,
) -> Optimism:
    """Train on a random split and with hospitals held out; say what the first hides.

    Args:
        data: a manifest, or ``synthetic``: the 208-hospital cohort.
        task: segmentation or classification.
        out: folder of all outputs; the same folder continues an interrupted run.
        strategies: federated strategies to train, beside pooled.
        seeds: number of trainings with different seeds, 1, 2, ...
        scale: size of the synthetic cohort; 1 is the paper's 10 023 patients.
        jobs: trainings at a time, as in `compare`.
        progress: show progress on stderr.
        settings: fields of `Study`, but not the split.

    Raises:
        ConfigError: a setting is unknown or out of range, the task is detection, or
            ``out`` holds another run.
        ManifestError: the manifest or a picture cannot be used, or a split leaks.
    """
    study = _study(task, strategies, seeds, settings)
    out = Path(out)
    refuse_missing(data)
    (study,), jobs = side_by_side([study], jobs)
    started = time.time()
    with Progress(enabled=progress) as shown:
        manifest, about_cohort = open_data(data, out, scale, shown)
        study = dataclasses.replace(study, data=str(manifest))
        claimed = {"strategies": list(strategies), "seeds": seeds}
        claimed |= {"manifest_sha256": manifest_hash(manifest)}
        contents = identity(out, [study], "optimism.json", claimed)
        archives = _archives(study, shown)
        sides = equal_sides([each.table for each in archives], seed=study.split_seed)
        cases = archives[0].table
        study = dataclasses.replace(
            study,
            split=write_design(cases, dict(zip(SPLITS, sides, strict=True)), out),
            n_folds=len(SPLITS),
        )
        write_contents(out, contents)
        trainings = list(_trainings(study, strategies, seeds))
        train_all(trainings, out / "trainings", jobs, shown)
        shown.step("evaluating")
        first, second = (int((side == "train").sum()) for side in sides)
        done = _evaluate(trainings, out, (first, second))
        facts = provenance(manifest, started) | claimed | about_cohort
        write_json(out / "provenance.json", facts | {"n_training": [first, second]})
    return done


def equal_sides(splits: Sequence[pd.DataFrame], *, seed: int) -> list["pd.Series[str]"]:
    """Return each split's sides, its training set cut down to the smallest one's size.

    Whole patients are dropped, evenly over hospital and class; they are then on no
    side. A hospital of very few patients may lose all that it trains with, and its
    test patients do not count as internal any more.

    Args:
        splits: the same cases, split in different ways.
        seed: of the draw.
    """
    n_least = min(int((cases["split"] == "train").sum()) for cases in splits)
    return [_cut_down(cases, n_least, seed) for cases in splits]


def _cut_down(cases: pd.DataFrame, n_pictures: int, seed: int) -> "pd.Series[str]":
    is_train = cases["split"] == "train"
    training = cases[is_train].assign(malignant=cases["malignant"].fillna(-1))
    n_patients = training["patient_id"].nunique()
    kept = draw_patients(
        training,
        round(n_patients * n_pictures / max(1, len(training))),
        ["hospital", "malignant"],
        np.random.default_rng([seed, 0x0971]),
    )
    is_dropped = is_train & ~kept.reindex(cases.index, fill_value=False)
    return cases["split"].mask(is_dropped)


def _study(
    task: str, strategies: Sequence[str], seeds: int, settings: dict[str, Any]
) -> Study:
    """Return the study; what cannot be trained is refused before anything is drawn."""
    for name in ("split", "fold", "n_folds"):
        if name in settings:
            raise ConfigError(
                f"{name} is set: the optimism is the difference between the splits "
                "patient and hospital; leave it out"
            )
    if task == "detection":
        raise ConfigError(
            "task is 'detection': its average precision is no mean over patients, and "
            "has no optimism here; use segmentation or classification"
        )
    study = make_study(task=task, **settings)
    check_arms([study], strategies, seeds)
    return study


def _archives(study: Study, shown: Progress) -> list[Archive]:
    """Return the same cases under either split."""
    archives = []
    for split in SPLITS:
        archive = open_archive(
            dataclasses.replace(study, split=split),
            study.data,
            progress=shown.counter("preparing pictures"),
        )
        refuse_faults(study, archive.left_out)
        archives.append(archive)
    return archives


def _trainings(
    study: Study, strategies: Sequence[str], seeds: int
) -> Iterator[Training]:
    """Yield all trainings: of each seed and split federated and pooled."""
    for seed in range(1, seeds + 1):
        for fold in range(1, len(SPLITS) + 1):
            own = dataclasses.replace(study, seed=seed, fold=fold)
            archive = open_archive(own, own.data)
            yield from plan(own, archive, strategies=strategies, n_singles=0, n_tuned=0)


def _evaluate(
    trainings: Sequence[Training], out: Path, n_training: tuple[int, int]
) -> Optimism:
    """Write the predictions, both tables and the sentences."""
    predictions = pd.concat(
        [
            pd.read_parquet(out / "trainings" / t.folder / PREDICTIONS)
            for t in trainings
        ],
        ignore_index=True,
    )
    predictions.to_parquet(out / "predictions.parquet")
    random, held_out = (predictions[predictions["fold"] == k] for k in (1, 2))
    table = optimism_table(random, held_out, n_training=n_training)
    gap = gap_table(held_out)
    sentences = optimism_sentences(table, gap, n_training)
    table.to_csv(out / "optimism.csv", index=False)
    gap.to_csv(out / "gap.csv", index=False)
    (out / "words.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return Optimism(
        folder=out, table=table, gap=gap, n_training=n_training, sentences=sentences
    )
