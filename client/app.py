"""The ClientApp: it only translates messages.

Messages (Flower's record keys); every one has, and every reply repeats, ``request``
(see `thyroid_fl.requests`), and a model travels packed (see `thyroid_fl.packing`):
    train: ``arrays`` and ``config`` (learning-rate, proximal-mu) -> ``arrays``,
        ``metrics`` (num-examples, train-loss, n-steps) and ``counts`` of the hospital's
        pictures (n-registered, n-readable, n-usable, n-used).
    evaluate: ``arrays`` -> ``metrics`` (num-examples, loss, and the task's sums).
    evaluate.test: ``arrays`` -> ``results`` (see `thyroid_fl.site_results`).
    query.summary: nothing -> ``summary`` (counts; see `thyroid_fl.summary`).
"""

import zlib
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.app import RecordDict as Records
from flwr.clientapp import ClientApp
from torch import nn

from thyroid_fl.batches import training_batches
from thyroid_fl.client.answering import Answer, Asked, answering
from thyroid_fl.client.inference import validate
from thyroid_fl.client.results import site_results
from thyroid_fl.client.site import own_archive
from thyroid_fl.client.state import (
    CUT_OFF,
    LAYER,
    layers_of,
    load_state,
    save_state,
    study_folder,
)
from thyroid_fl.client.summary import site_summary
from thyroid_fl.client.training import LocalUpdate, local_update, make_optimizer
from thyroid_fl.devices import choose_device, place
from thyroid_fl.errors import RoundError
from thyroid_fl.packing import Arrays, shapes_of
from thyroid_fl.settings import Study
from thyroid_fl.site_results import TEST
from thyroid_fl.strategies.arrays import packed_record, unpacked
from thyroid_fl.summary import QUERY
from thyroid_fl.tasks import TASKS, build_model, local_names
from thyroid_fl.weights import load_arrays, model_shapes, views_of

app = ClientApp()

MODEL_FIELDS = ("task", "preset", "image_px", "norm", "device")


@app.train()
@answering
def train(asked: Asked) -> Answer:
    """Train on the site's cases and return the weights; no cases, no weights."""
    site = asked.site
    counts = ConfigRecord({k.replace("_", "-"): n for k, n in site.counts.items()})
    counts["n-used"] = len(site.train)
    if not len(site.train):
        metrics = MetricRecord({"num-examples": 0.0})
        return Answer(
            records=Records(
                {"arrays": ArrayRecord(), "metrics": metrics, "counts": counts}
            )
        )
    state = _state(asked, asked.request.server_round - 1)
    model, received = _global_model(asked, state)
    done = _train(model, asked)
    metrics = MetricRecord(
        {
            "num-examples": float(len(site.train)),
            "train-loss": done.loss,
            "n-steps": float(done.n_steps),
        }
    )
    record, arrays = _update(asked, model, received, state)
    return Answer(
        records=Records({"arrays": record, "metrics": metrics, "counts": counts}),
        arrays=arrays,
    )


@app.evaluate()
@answering
def evaluate(asked: Asked) -> Answer:
    """Return the loss and the task's sums over the site's validation cases."""
    n = len(asked.site.val)
    metrics = {"num-examples": float(n)}
    if n:
        state = _state(asked, asked.request.server_round)
        model, _ = _global_model(asked, state)
        metrics |= validate(model, asked.site, asked.study)
    return Answer(records=Records({"metrics": MetricRecord(dict(metrics))}))


@app.evaluate(TEST)
@answering
def test(asked: Asked) -> Answer:
    """Tell how good the model is on the site's test cases, as far as it may be told."""
    archive = own_archive(asked.study, asked.node_config)
    model, _ = _global_model(asked, _state(asked, asked.request.server_round))
    level = asked.policy.evaluation if asked.policy else "scores"
    return Answer(
        records=site_results(model, archive, asked.site.name, asked.study, level)
    )


@app.query(QUERY)
def summary(message: Message, context: Context) -> Message:
    """Tell counts of the site's patients and pictures, none below its own minimum."""

    def told(asked: Asked) -> Answer:
        records = site_summary(asked.study, asked.site.name, asked.node_config)
        return Answer(records=records)

    return answering(told)(message, context)


def round_seed(seed: int, server_round: int, hospital: str) -> np.random.SeedSequence:
    """Return the seed of one hospital's batches and augmentation in one round."""
    return np.random.SeedSequence([seed, server_round, zlib.crc32(hospital.encode())])


def _train(model: nn.Module, asked: Asked) -> LocalUpdate:
    """Train the model on the site's cases for one round."""
    study, site, config = asked.study, asked.site, asked.content["config"]
    optimizer = make_optimizer(
        model,
        study,
        float(config["learning-rate"]),  # type: ignore[arg-type]
        float(config.get("proximal-mu", 0.0)),  # type: ignore[arg-type]
    )
    seed = round_seed(study.seed, asked.request.server_round, site.name)
    batches = training_batches(
        site.cases,
        site.train,
        batch_size=study.batch_size,
        epochs=study.local_epochs,
        rotation_deg=study.rotation_deg,
        flips=study.flips,
        seed=seed,
    )
    device = site.cases.pixels.device
    # Dropout draws from the device's global generator.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seed.generate_state(1)[0]))
        return local_update(model, TASKS[study.task], batches, optimizer, study)


def _update(
    asked: Asked, model: nn.Module, received: Arrays, state: Arrays
) -> tuple[ArrayRecord, Arrays]:
    """Return what leaves of the trained model, packed and array by array.

    The layers that stay, and what rounding cuts off, go into the hospital's state.
    """
    study = asked.study
    trained = views_of(model)
    local = local_names(model, study)
    kept: Arrays = {LAYER + name: trained[name] for name in local}
    arrays: Arrays = {n: a for n, a in trained.items() if n not in local}
    if study.upload != "fp32":
        # Error feedback: what was cut off last time is sent with this change.
        arrays = {
            n: a - received[n] + state.get(CUT_OFF + n, np.float32(0))
            for n, a in arrays.items()
        }
    record = packed_record(arrays, study.upload)
    if study.upload != "fp32":
        arrives = unpacked(record, study.upload, shapes_of(arrays))
        kept |= {CUT_OFF + n: a - arrives[n] for n, a in arrays.items()}
    if kept:
        request = asked.request
        folder = study_folder(asked.states, request.study_id)
        save_state(folder, request.server_round, kept, request.best_round)
    return record, arrays


def _state(asked: Asked, until_round: int) -> Arrays:
    """Return what this hospital kept of the study; empty where nothing is kept."""
    return load_state(study_folder(asked.states, asked.request.study_id), until_round)


def _global_model(asked: Asked, state: Arrays) -> tuple[nn.Module, Arrays]:
    """Return this process's model with the centre's weights, and these weights.

    Layers of the hospital's own, if it keeps any, take the place of the centre's.
    """
    study = asked.study
    model = _built(Study(**{name: getattr(study, name) for name in MODEL_FIELDS}))
    record = cast(ArrayRecord, asked.content["arrays"])
    try:
        received = unpacked(record, study.download, model_shapes(model))
    except ValueError as error:
        raise RoundError(
            f"the received model cannot be used: {error}; use the same task, preset "
            "and version"
        ) from error
    load_arrays(model, received | layers_of(state))
    return model, received


@lru_cache(maxsize=1)
def _built(study: Study) -> nn.Module:
    return place(build_model(study), choose_device(study.device))
