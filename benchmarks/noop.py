"""A ClientApp that trains nothing: it sends back the arrays that it got."""

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

noop_app = ClientApp()


@noop_app.train()
def train(message: Message, context: Context) -> Message:
    del context
    return _reply(message, "arrays", "request")


@noop_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    del context
    return _reply(message, "request")


def _reply(message: Message, *kept: str) -> Message:
    metrics = MetricRecord({"num-examples": 1.0, "loss": 0.5})
    records = {name: message.content[name] for name in kept}
    return Message(RecordDict(records | {"metrics": metrics}), reply_to=message)
