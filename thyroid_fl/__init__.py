"""Federated learning across hospitals for thyroid-nodule ultrasound.

From Jupyter::

    import thyroid_fl
    study = thyroid_fl.compare(data="synthetic", out="runs/first")
    study.table
    study.plot()
"""

import os
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

# Read by the libraries at import, so set before any of them: nothing calls home, and
# idle OpenMP threads sleep (spinning made steps 10 times slower beside a process).
for _name, _value in {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "OMP_WAIT_POLICY": "PASSIVE",
}.items():
    os.environ.setdefault(_name, _value)

if TYPE_CHECKING:
    from thyroid_fl.settings import Study, make_study, read_settings
    from thyroid_fl.simulation.compare import Comparison, compare
    from thyroid_fl.simulation.matrix import Matrix, matrix

__version__ = metadata.version("thyroid-fl")
__all__ = [
    "Comparison",
    "Matrix",
    "Study",
    "compare",
    "make_study",
    "matrix",
    "read_settings",
]

_HOME = {
    "Comparison": "thyroid_fl.simulation.compare",
    "Matrix": "thyroid_fl.simulation.matrix",
    "Study": "thyroid_fl.settings",
    "compare": "thyroid_fl.simulation.compare",
    "make_study": "thyroid_fl.settings",
    "matrix": "thyroid_fl.simulation.matrix",
    "read_settings": "thyroid_fl.settings",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use: importing a hospital's app stays light."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
