"""Makes a real hospital misbehave as a test has planned; Python imports it at start.

``THYROID_TEST_FAULTS`` is the hospital's folder for it: ``plan.json`` names the fault
of each round. A ClientApp that is told to hold writes ``holding-ROUND`` with its
process, and trains when there is a file ``go-ROUND``.
"""

import importlib.util
import json
import os
import sys
import time
from importlib.abc import MetaPathFinder
from pathlib import Path

APP = "thyroid_fl.client.app"
SECRET = "/archive/ward-7/tran-thi-483.png"


class Finder(MetaPathFinder):
    """Finds the ClientApp's module as everybody, and spoils it once it is loaded."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != APP:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        load = spec.loader.exec_module

        def load_and_spoil(module):
            load(module)
            spoil(module, Path(os.environ["THYROID_TEST_FAULTS"]))

        spec.loader.exec_module = load_and_spoil
        return spec


def spoil(app, folder):
    """Replace the ClientApp's training, and what leaves after it."""
    honest_train, honest_answer = app._train, app.Answer
    fault = ""

    def train(model, asked):
        nonlocal fault
        number = asked.request.server_round
        fault = json.loads((folder / "plan.json").read_text()).get(str(number), "")
        if fault == "exception":
            Path(SECRET).read_bytes()
        if fault == "hold":
            (folder / f"holding-{number}").write_text(str(os.getpid()))
            while not (folder / f"go-{number}").exists():
                time.sleep(0.1)
        return honest_train(model, asked)

    def answer(*, records, arrays=None):
        arrays = arrays or {}
        spoiled = spoiled_arrays(arrays, fault)
        if spoiled is not arrays:
            records["arrays"] = app.packed_record(spoiled, "fp32")
        if fault == "too many":
            records["metrics"]["num-examples"] = 1e6
        if fault == "a billion":
            records["metrics"]["num-examples"] = 1e9
            records["counts"].update(dict.fromkeys(records["counts"], 10**9))
        return honest_answer(records=records, arrays=spoiled)

    app._train, app.Answer = train, answer


def spoiled_arrays(arrays, fault):
    """Return the arrays with what the fault makes of them."""
    if fault == "nan":
        return {name: array * float("nan") for name, array in arrays.items()}
    if fault == "shapes":
        return {name: array.ravel()[1:] for name, array in arrays.items()}
    if fault == "norm":
        return {name: array * array.dtype.type(1000) for name, array in arrays.items()}
    return arrays


if "THYROID_TEST_FAULTS" in os.environ:
    sys.meta_path.insert(0, Finder())
