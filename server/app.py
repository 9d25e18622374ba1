"""The ServerApp: read the settings, build the initial model, run the rounds."""

import logging
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from thyroid_fl.server.rounds import run_rounds
from thyroid_fl.settings import study_from
from thyroid_fl.strategies import make_strategy
from thyroid_fl.strategies.arrays import record_of

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study of ``run_config["study"]``; results go to ``run_config["out"]``.

    ``study`` is a study's JSON, the path of a study.toml, or empty for the defaults.
    """
    # Torch is imported here: to import this module is light.
    from thyroid_fl.tasks import build_model
    from thyroid_fl.weights import views_of

    study = study_from(str(context.run_config["study"]))
    _log_to_stderr()
    initial = record_of(views_of(build_model(study)))
    out = Path(str(context.run_config["out"]))
    run_rounds(grid, study, make_strategy(study), initial, out)


def _log_to_stderr() -> None:
    """Show our log where nobody else does: in the process that Flower starts."""
    log = logging.getLogger("thyroid_fl")
    if log.level == logging.NOTSET and not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
