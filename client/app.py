"""The ClientApp: it only translates messages.

Messages (Flower's record keys):
    train: ``arrays`` and ``config`` (learning-rate, server-round, proximal-mu) ->
        ``arrays``, ``metrics`` (num-examples, train-loss, n-steps) and ``counts`` of
        the hospital's pictures (n-registered, n-readable, n-usable, n-used).
    evaluate: ``arrays`` -> ``metrics`` (num-examples, loss, and the task's sums).
    query.summary: nothing -> ``summary`` (counts; see `thyroid_fl.summary`).
"""

import logging
import zlib
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import cast

import numpy as np
import torch
from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from torch import nn

from thyroid_fl.batches import training_batches
from thyroid_fl.client.inference import validate
from thyroid_fl.client.site import Site, open_site
from thyroid_fl.client.summary import site_summary
from thyroid_fl.client.training import local_update, make_optimizer
from thyroid_fl.devices import choose_device, place, set_threads
from thyroid_fl.settings import Study, study_from
from thyroid_fl.strategies.arrays import arrays_of_record, record_of
from thyroid_fl.summary import QUERY
from thyroid_fl.tasks import TASKS, build_model
from thyroid_fl.weights import load_arrays, views_of

app = ClientApp()
log = logging.getLogger(__name__)

Handler = Callable[[Study, Site, RecordDict], RecordDict]
MODEL_FIELDS = ("task", "preset", "image_px", "norm", "device")


def answering(handler: Handler) -> Callable[[Message, Context], Message]:
    """Open what a message asks for, call the handler, and wrap its records.

    An exception's text may hold a path or a patient: it stays in this hospital's log,
    and the centre sees only the exception's kind.
    """

    @wraps(handler)
    def answer(message: Message, context: Context) -> Message:
        try:
            study = study_from(str(context.run_config.get("study", "")))
            set_threads(study.threads)
            site = open_site(study, context.node_config)
            records = handler(study, site, message.content)
        except Exception as error:
            log.exception("a request of the centre failed")
            raise RuntimeError(
                f"{type(error).__name__} in the hospital; its own log says more"
            ) from None
        return Message(records, reply_to=message)

    return answer


@app.train()
@answering
def train(study: Study, site: Site, asked: RecordDict) -> RecordDict:
    """Train on the site's cases and return the weights; no cases, no weights."""
    counts = ConfigRecord({k.replace("_", "-"): n for k, n in site.counts.items()})
    counts["n-used"] = len(site.train)
    if not len(site.train):
        return _reply({"num-examples": 0.0}, counts=counts, arrays=ArrayRecord())
    model, config = _global_model(study, asked), asked["config"]
    optimizer = make_optimizer(
        model,
        study,
        float(config["learning-rate"]),  # type: ignore[arg-type]
        float(config.get("proximal-mu", 0.0)),  # type: ignore[arg-type]
    )
    seed = round_seed(study.seed, int(config["server-round"]), site.name)  # type: ignore[arg-type]
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
        update = local_update(model, TASKS[study.task], batches, optimizer, study)
    arrays = record_of(views_of(model))
    metrics = {
        "num-examples": float(len(site.train)),
        "train-loss": update.loss,
        "n-steps": float(update.n_steps),
    }
    return _reply(metrics, counts=counts, arrays=arrays)


@app.evaluate()
@answering
def evaluate(study: Study, site: Site, asked: RecordDict) -> RecordDict:
    """Return the loss and the task's sums over the site's validation cases."""
    if not len(site.val):
        return _reply({"num-examples": 0.0})
    model = _global_model(study, asked)
    metrics = {"num-examples": float(len(site.val))}
    return _reply(metrics | validate(model, site, study))


@app.query(QUERY)
def summary(message: Message, context: Context) -> Message:
    """Tell counts of the site's patients and pictures, none below its own minimum."""

    def told(study: Study, site: Site, asked: RecordDict) -> RecordDict:
        return site_summary(study, site.name, context.node_config)

    return answering(told)(message, context)


def round_seed(seed: int, server_round: int, hospital: str) -> np.random.SeedSequence:
    """Return the seed of one hospital's batches and augmentation in one round."""
    return np.random.SeedSequence([seed, server_round, zlib.crc32(hospital.encode())])


def _reply(
    metrics: dict[str, float], **records: ArrayRecord | ConfigRecord
) -> RecordDict:
    return RecordDict({"metrics": MetricRecord(dict(metrics)), **records})


def _global_model(study: Study, asked: RecordDict) -> nn.Module:
    """Return this process's model of the study with the weights of the centre."""
    model = _built(Study(**{name: getattr(study, name) for name in MODEL_FIELDS}))
    received = cast(ArrayRecord, asked["arrays"])
    load_arrays(model, arrays_of_record(received))
    return model


@lru_cache(maxsize=1)
def _built(study: Study) -> nn.Module:
    return place(build_model(study), choose_device(study.device))
