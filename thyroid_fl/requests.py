"""What the centre's every message says of itself, and every reply repeats.

By it a hospital refuses a centre of another version, finds what it kept of the study,
and the centre knows an answer to an older request.
"""

from dataclasses import dataclass
from typing import Self

from flwr.app import ConfigRecord, RecordDict

import thyroid_fl
from thyroid_fl.errors import PolicyError

RECORD = "request"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Which study and round a message belongs to."""

    study_id: str
    """The same for a study and for its continuation after an interruption."""
    server_round: int
    """From 1; 0: the initial model is validated, or nothing is trained at all."""
    best_round: int = 0
    """The best round so far, which hospitals keep the state of; 0: none yet."""
    version: str = thyroid_fl.__version__
    """Of thyroid-fl at the sender."""

    def record(self) -> ConfigRecord:
        """Return the record that travels."""
        return ConfigRecord(
            {
                "study-id": self.study_id,
                "server-round": self.server_round,
                "best-round": self.best_round,
                "version": self.version,
            }
        )

    @classmethod
    def of(cls, content: RecordDict) -> Self:
        """Return what a message says of itself.

        Raises:
            PolicyError: it says nothing, or comes from another version.
        """
        record = content.get(RECORD)
        if not isinstance(record, ConfigRecord):
            raise PolicyError("the message does not say which study it belongs to")
        version = str(record.get("version"))
        if version != thyroid_fl.__version__:
            raise PolicyError(
                f"the centre runs thyroid-fl {version}, this hospital "
                f"{thyroid_fl.__version__}: install the same version on both sides"
            )
        return cls(
            study_id=str(record["study-id"]),
            server_round=int(record["server-round"]),  # type: ignore[arg-type]
            best_round=int(record["best-round"]),  # type: ignore[arg-type]
        )
