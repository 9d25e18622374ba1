"""The ServerApp: read the settings; train, or ask what data the hospitals have."""

import logging
from functools import partial
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from thyroid_fl.errors import ConfigError
from thyroid_fl.files import alone
from thyroid_fl.requests import Request
from thyroid_fl.server.centre.registry import names_by_node
from thyroid_fl.server.checkpoint import best_model
from thyroid_fl.server.hospitals import Hospitals
from thyroid_fl.server.rounds import run_rounds
from thyroid_fl.settings import study_from
from thyroid_fl.strategies import make_strategy
from thyroid_fl.strategies.arrays import record_of

app = ServerApp()

PATIENCE_S = 120.0
"""How long a study waits for an earlier run of it to end."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study of ``run_config["study"]``; results go to ``run_config["out"]``.

    ``study`` is a study's JSON, the path of a study.toml, or empty for the defaults.
    With ``ask`` = ``summary`` nothing is trained: the hospitals tell what data they
    have. With ``test`` they also test the finished model on their test cases.
    ``hospitals`` is the centre's list of hospitals, for their names, or empty.
    """
    study = study_from(str(context.run_config["study"]))
    out = Path(str(context.run_config["out"]))
    ask = context.run_config.get("ask", "training")
    if ask not in ("training", "summary"):
        raise ConfigError(f"ask is {ask!r}; expected training or summary")
    _log_to_stderr()
    registry = str(context.run_config.get("hospitals", ""))
    if not registry:
        _ask(Hospitals(grid=grid, study=study), ask, out, context)
        return
    names = partial(names_by_node, Path(registry))
    # A ServerApp that was stopped may live on for some seconds.
    with alone(out / ".lock", PATIENCE_S):
        _ask(Hospitals(grid=grid, study=study, names=names), ask, out, context)


def _ask(hospitals: Hospitals, ask: str, out: Path, context: Context) -> None:
    # Torch and matplotlib are imported here: to import this module is light.
    from thyroid_fl.tasks import build_model
    from thyroid_fl.weights import views_of

    study = hospitals.study
    if ask == "summary":
        from thyroid_fl.server.summary import summarise

        summarise(hospitals, out)
        return
    initial = record_of(views_of(build_model(study)))
    progress = run_rounds(hospitals, make_strategy(study), initial, out)
    if context.run_config.get("test", True):
        from thyroid_fl.server.site_results import ask_results

        best = progress.best_round
        request = Request(
            study_id=progress.study_id, server_round=best, best_round=best
        )
        ask_results(hospitals, request, best_model(out, progress), out)


def _log_to_stderr() -> None:
    """Show our log where nobody else does: in the process that Flower starts."""
    log = logging.getLogger("thyroid_fl")
    if log.level == logging.NOTSET and not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
