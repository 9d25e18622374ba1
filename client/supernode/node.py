"""One connection to the centre: ``python -m thyroid_fl.client.supernode.node FOLDER``.

`thyroid_fl.client.supernode.running` starts this program, and starts it again.
"""

import logging
import os
import sys
from pathlib import Path

from thyroid_fl.client import audit
from thyroid_fl.client.supernode.environment import hardened
from thyroid_fl.client.supernode.folder import read_hospital
from thyroid_fl.client.supernode.words import STARTS


def main(folder: Path) -> int:
    """Serve the centre until the connection or this program is ended."""
    hospital = read_hospital(folder)
    environment = hardened(os.environ, hospital.state)
    os.environ.clear()
    os.environ.update(environment)
    # Flower reads the environment when it is imported.
    from thyroid_fl.client.supernode.flower import serve

    # Not the root logger: Flower tells it of every question for work.
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger("thyroid_fl").addHandler(handler)
    logging.getLogger("thyroid_fl.client").warning(STARTS)
    audit.append(hospital.audit, {"event": "started"})
    try:
        serve(hospital)
    finally:
        audit.append(hospital.audit, {"event": "stopped"})
    return 1  # `serve` returns only where the connection is lost for good


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
