"""What every answer of a hospital goes through: its policy, its log, its errors.

An exception's text may hold a path or a patient: it stays in this hospital's log, and
the centre sees only the exception's kind. What a policy refuses the centre is told in
full. In a deployed hospital nothing leaves before it stands in the audit log.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)

from thyroid_fl.client import audit
from thyroid_fl.client.policy import Policy, check_study, read_policy
from thyroid_fl.client.site import Site, open_site
from thyroid_fl.client.state import simulated_folder
from thyroid_fl.devices import set_threads
from thyroid_fl.errors import PolicyError
from thyroid_fl.packing import Arrays
from thyroid_fl.requests import RECORD, Request
from thyroid_fl.settings import Study, study_from

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the centre asks for, and where this hospital answers it from."""

    study: Study
    request: Request
    site: Site
    content: RecordDict
    node_config: Mapping[str, Any]
    policy: Policy | None
    """None in a simulation: everything is allowed."""
    states: Path
    """Folder of what this hospital keeps between rounds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What leaves the hospital."""

    records: RecordDict
    arrays: Arrays = field(default_factory=dict)
    """The model's arrays in it, for the audit log: they travel packed as one."""


Handler = Callable[[Asked], Answer]


def answering(handler: Handler) -> Callable[[Message, Context], Message]:
    """Return the function that Flower calls: it checks, answers and keeps the log.

    Of the node's configuration ``policy``, ``audit`` and ``state`` are paths that a
    deployed hospital gives; see `open_site` for the rest.
    """

    @wraps(handler)
    def answer(message: Message, context: Context) -> Message:
        try:
            answered = _logged_answer(handler, message, context)
        except PolicyError as error:
            log.warning("refused: %s", error)
            raise
        except Exception as error:
            log.exception("a request of the centre failed")
            raise RuntimeError(
                f"{type(error).__name__} in the hospital; its own log says more"
            ) from None
        answered.records[RECORD] = message.content[RECORD]
        return Message(answered.records, reply_to=message)

    return answer


def _logged_answer(handler: Handler, message: Message, context: Context) -> Answer:
    """Return the answer after what became of the request stands in the audit log."""
    entry: dict[str, Any] = {
        "asked": message.metadata.message_type,
        "run_id": str(context.run_id),
    }
    try:
        answer = _answer(handler, message.content, context, entry)
    except PolicyError as error:
        _keep(context, entry | {"event": "refused", "reason": str(error)})
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        _keep(context, entry | {"event": "failed", "reason": reason})
        raise
    _keep(context, entry | {"event": "answered"} | _told(answer))
    return answer


def _answer(
    handler: Handler, content: RecordDict, context: Context, entry: dict[str, Any]
) -> Answer:
    """Return the handler's answer to a request that the policy allows."""
    request = Request.of(content)
    entry |= {"study_id": request.study_id, "round": request.server_round}
    own = context.node_config
    settings = str(context.run_config.get("study", ""))
    if "policy" in own and not settings.startswith("{"):
        # `study_from` would read a file of this machine that the centre has chosen.
        raise PolicyError("the study's settings did not come with the request")
    study = study_from(settings)
    entry |= {
        "task": study.task,
        "strategy": study.strategy,
        "settings_sha256": hashlib.sha256(study.to_json().encode()).hexdigest(),
    }
    policy = read_policy(Path(str(own["policy"]))) if "policy" in own else None
    if policy is not None:
        check_study(policy, study)
        _check_round(request, study)
    set_threads(study.threads)
    site = open_site(study, own)
    if "state" in own:
        states = Path(str(own["state"]))
    else:  # a simulation: the hospitals' folders lie in the study's
        out = Path(str(context.run_config.get("out", ".")))
        states = simulated_folder(out, site.name)
    answer = handler(
        Asked(
            study=study,
            request=request,
            site=site,
            content=content,
            node_config=own,
            policy=policy,
            states=states,
        )
    )
    entry["cases"] = {"used": len(site.train)} | {
        name.removeprefix("n_"): n for name, n in site.counts.items()
    }
    return answer


def _check_round(request: Request, study: Study) -> None:
    """Refuse a round that the study does not have: the policy limits their number."""
    if not 0 <= request.server_round <= study.rounds:
        raise PolicyError(
            f"round {request.server_round} is asked for; the study has {study.rounds}"
        )


def _told(answer: Answer) -> dict[str, Any]:
    """Return the entry's account of everything that leaves."""
    numbers: dict[str, Any] = {}
    n_bytes = 0
    for record in answer.records.values():
        if isinstance(record, ArrayRecord):
            n_bytes += sum(len(array.data) for array in record.values())
        elif isinstance(record, MetricRecord | ConfigRecord):
            numbers |= dict(record)
    return {
        "numbers": numbers,
        "arrays": audit.described(answer.arrays),
        "bytes": n_bytes,
    }


def _keep(context: Context, entry: dict[str, Any]) -> None:
    if "audit" in context.node_config:
        audit.append(Path(str(context.node_config["audit"])), entry)
