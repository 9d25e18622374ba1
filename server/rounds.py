"""The round engine, on Flower's Grid and Strategy: train, average, validate, keep.

What Flower's own loop lacks: a bounded wait for hospitals, a quorum, a deadline that
keeps the replies that came, memory that does not grow with the hospitals, and a
checkpoint after each round from which the study goes on as if it had not stopped.
"""

import logging
import math
import time
import uuid
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord

from thyroid_fl.errors import ConfigError, RoundError
from thyroid_fl.requests import Request
from thyroid_fl.server.checkpoint import Progress, Row, load_progress, save_progress
from thyroid_fl.server.hospitals import Hospitals, by_reason, connected, replies
from thyroid_fl.server.model import write_model
from thyroid_fl.server.participation import add_round, add_trips
from thyroid_fl.settings import Study
from thyroid_fl.strategies import FedAvg

logger = logging.getLogger(__name__)

COUNTS = ("n_val_hospitals", "n_val_failed", "n_val_examples")
"""Columns of a validation that are no metrics."""


def run_rounds(
    hospitals: Hospitals, strategy: FedAvg, initial: ArrayRecord, out: Path
) -> Progress:
    """Train to the study's last round and write the best model; return the progress.

    Where the folder already holds rounds of this study, it goes on after the last one.

    Args:
        hospitals: whom to ask, for which study.
        strategy: averages the hospitals' models.
        initial: the model at the start; not used where a study is continued.
        out: gets ``checkpoint/``, ``model.safetensors``, ``history.csv``,
            ``participation.csv``, ``traffic.csv`` and ``MODEL_CARD.md``.

    Raises:
        ConfigError: nobody reports the metric that chooses the best round, or the
            folder holds another study.
        RoundError: too few hospitals connect or send a usable update, or none can
            validate the initial model.
    """
    study = hospitals.study
    progress = load_progress(out, study)
    if progress is None:
        progress = _start(hospitals, strategy, initial)
        save_progress(out, study, progress)
        add_trips(out, hospitals)
    elif not (out / "model.safetensors").exists():
        logger.info("continuing %s after round %d", out, progress.last_round)
    strategy.load_state_dict(progress.strategy_state)
    for server_round in range(progress.last_round + 1, study.rounds + 1):
        try:
            progress = _play_round(hospitals, strategy, progress, server_round, out)
            save_progress(out, study, progress)
        finally:
            add_trips(out, hospitals)
    if not (out / "model.safetensors").exists():
        write_model(out, study, progress)
    return progress


def learning_rate(study: Study, server_round: int) -> float:
    """Return the hospitals' learning rate in a round (from 1); never 0.

    It rises linearly over the warm-up rounds, reaches its peak in the round after them,
    and falls as a cosine that would be 0 one round after the last.
    """
    if server_round <= study.warmup_rounds:
        return study.learning_rate * server_round / (study.warmup_rounds + 1)
    n_after = study.rounds - study.warmup_rounds
    done = (server_round - study.warmup_rounds - 1) / n_after
    return study.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _start(hospitals: Hospitals, strategy: FedAvg, initial: ArrayRecord) -> Progress:
    """Return the progress at round 0: the initial model, validated.

    That the metric which is to choose the best round is there is better known now than
    after the last round.
    """
    study = hospitals.study
    request = Request(study_id=uuid.uuid4().hex, server_round=0)
    row = _validate(hospitals, strategy, initial, request)
    reported = [k for k, v in row.items() if k not in COUNTS and not math.isnan(v)]
    if study.select_by not in ("last", *reported):
        raise ConfigError(
            f"select_by is {study.select_by!r}, which no hospital's validation "
            f"reports; use 'last' or one of: {', '.join(reported) or '(none)'}"
        )
    return Progress(
        study_id=request.study_id,
        last_round=0,
        best_round=0,
        history=({"round": 0} | row,),
        arrays=initial,
        strategy_state=strategy.state_dict(),
    )


def _play_round(
    hospitals: Hospitals,
    strategy: FedAvg,
    before: Progress,
    server_round: int,
    out: Path,
) -> Progress:
    """Return the progress after one more round."""
    study, started = hospitals.study, time.monotonic()
    request = Request(
        study_id=before.study_id,
        server_round=server_round,
        best_round=before.best_round,
    )
    arrays, row = _train(hospitals, strategy, before.arrays, request, out)
    row |= _validate(hospitals, strategy, arrays, request)
    row = {"round": server_round, "seconds": time.monotonic() - started} | row
    logger.info(
        "round %d of %d: %s",
        server_round,
        study.rounds,
        ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k != "round"),
    )
    history = (*before.history, row)
    best = _merit(study, history[before.best_round]) if before.best_round else math.nan
    is_best = math.isnan(best) or _merit(study, row) > best
    return Progress(
        study_id=before.study_id,
        last_round=server_round,
        best_round=server_round if is_best else before.best_round,
        history=history,
        arrays=arrays,
        strategy_state=strategy.state_dict(),
    )


def _train(
    hospitals: Hospitals,
    strategy: FedAvg,
    arrays: ArrayRecord,
    request: Request,
    out: Path,
) -> tuple[ArrayRecord, Row]:
    """Return the mean of the models that the hospitals trained, and the round's row."""
    study, server_round = hospitals.study, request.server_round
    rate = learning_rate(study, server_round)
    messages = strategy.configure_train(
        server_round,
        arrays,
        ConfigRecord({"learning-rate": rate}),
        connected(hospitals, study.participation, server_round),
    )
    failed: dict[int, str] = {}
    mean, metrics = strategy.aggregate_train(
        server_round, replies(hospitals, messages, request, failed)
    )
    tally = strategy.tally
    failed |= tally.left_out
    add_round(out, server_round, tally, failed, hospitals.names())
    if mean is None or len(tally.used) < study.min_hospitals:
        raise RoundError(
            f"round {server_round}: {len(tally.used)} hospitals sent a usable update, "
            f"min_hospitals is {study.min_hospitals}. "
            f"Others: {by_reason(hospitals, failed, tally.empty)}. "
            "The rounds before are kept: start the study again to go on from there"
        )
    return mean, {
        "learning_rate": rate,
        **_columns(metrics, "train_"),
        "n_hospitals": len(tally.used),
        "n_failed": len(failed),
        "n_examples": tally.n_examples,
    }


def _validate(
    hospitals: Hospitals,
    strategy: FedAvg,
    arrays: ArrayRecord,
    request: Request,
) -> Row:
    """Return the metrics of a model on the hospitals' validation cases.

    A round without any is no failure: its model is never the best one.
    """
    messages = strategy.configure_evaluate(
        request.server_round, arrays, ConfigRecord(), connected(hospitals)
    )
    failed: dict[int, str] = {}
    metrics = strategy.aggregate_evaluate(
        request.server_round, replies(hospitals, messages, request, failed)
    )
    tally = strategy.tally
    failed |= tally.left_out
    if request.server_round == 0 and failed and not tally.used:
        raise RoundError(
            "no hospital could validate the initial model: "
            + by_reason(hospitals, failed, tally.empty)
        )
    return {
        **_columns(metrics),
        "n_val_hospitals": len(tally.used),
        "n_val_failed": len(failed),
        "n_val_examples": tally.n_examples,
    }


def _columns(metrics: MetricRecord | None, prefix: str = "") -> Row:
    """Return the metrics as columns: ``train-loss`` and ``loss`` are ``train_loss``."""
    return {
        prefix + name.replace("-", "_").removeprefix(prefix): float(value)
        for name, value in (metrics or {}).items()
        if not isinstance(value, list)
    }


def _merit(study: Study, row: Row) -> float:
    """Return how good a round is: the higher the better; NaN where it is not known."""
    value = row.get(study.select_by, math.nan)
    return -value if study.select_by.endswith("loss") else value
