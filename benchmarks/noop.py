"""A ClientApp that trains nothing: it sends back the arrays that it got."""

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

noop_app = ClientApp()


@noop_app.train()
def train(message: Message, context: Context) -> Message:
    del context
    content = {"arrays": message.content["arrays"], **_one_case()}
    return Message(RecordDict(content), reply_to=message)


@noop_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    del context
    return Message(RecordDict(_one_case()), reply_to=message)


def _one_case() -> dict[str, MetricRecord]:
    return {"metrics": MetricRecord({"num-examples": 1.0, "loss": 0.5})}
