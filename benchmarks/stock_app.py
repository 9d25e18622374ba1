"""A stock Flower app: FedAvg as Flower's documentation has it, on the same pictures.

The state dict travels as it is, array by array, to train and to evaluate.
"""

import time
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from thyroid_fl.batches import training_batches
from thyroid_fl.client.inference import validate
from thyroid_fl.client.site import open_site
from thyroid_fl.client.training import local_update, make_optimizer
from thyroid_fl.devices import set_threads
from thyroid_fl.settings import study_from
from thyroid_fl.tasks import TASKS, build_model

server_app = ServerApp()
client_app = ClientApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    study = study_from(str(context.run_config["study"]))
    done = Path(str(context.run_config["out"])) / "last_round"

    def note(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        del arrays
        done.write_text(str(server_round))
        return MetricRecord({"time-s": time.time()})

    n = study.min_hospitals
    strategy = FedAvg(min_train_nodes=n, min_evaluate_nodes=n, min_available_nodes=n)
    strategy.start(
        grid,
        ArrayRecord(build_model(study).state_dict()),
        num_rounds=study.rounds,
        evaluate_fn=note,
    )


@client_app.train()
def train(message: Message, context: Context) -> Message:
    study = study_from(str(context.run_config["study"]))
    set_threads(study.threads)
    site = open_site(study, context.node_config)
    model = build_model(study)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    batches = training_batches(
        site.cases,
        site.train,
        batch_size=study.batch_size,
        epochs=study.local_epochs,
        rotation_deg=study.rotation_deg,
        flips=study.flips,
        seed=np.random.SeedSequence([study.seed, context.node_id]),
    )
    optimizer = make_optimizer(model, study, study.learning_rate, 0.0)
    done = local_update(model, TASKS[study.task], batches, optimizer, study)
    metrics = {"num-examples": len(site.train), "train-loss": done.loss}
    records = {
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord(metrics),
    }
    return Message(RecordDict(records), reply_to=message)


@client_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    study = study_from(str(context.run_config["study"]))
    set_threads(study.threads)
    site = open_site(study, context.node_config)
    model = build_model(study)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    metrics = {"num-examples": len(site.val)} | dict(validate(model, site, study))
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)
