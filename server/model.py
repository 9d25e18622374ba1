"""The result of a study: the best model, the history of its rounds, and its card."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
from safetensors.numpy import save_file

import thyroid_fl
from thyroid_fl.files import write_whole
from thyroid_fl.server.checkpoint import Progress, best_model
from thyroid_fl.settings import Study

CARD = """\
# Model card: thyroid nodule {task}

A model for **{task}** of thyroid nodules on ultrasound, trained across hospitals
without moving a picture: strategy `{strategy}`, preset `{preset}`, {image_px} px, \
region `{region}`.

## Training

- {rounds} rounds; this is the model of round **{best_round}**, chosen \
by `{select_by}`.
- In that round {n_hospitals:.0f} hospitals sent an update, from {n_examples:.0f} \
pictures; {n_failed:.0f} failed.
- Random seed {seed}; thyroid-fl {version}.

## Validation

Over the validation pictures of all hospitals in that round; `history.csv` has every \
round. The best round was chosen on these pictures, so the numbers are optimistic: \
judge the model on test cases.

{validation}

## Use and limits

For research only. **Not a medical device**: not approved for diagnosis, and not to be \
used for the care of a patient.
It knows nodules such as those it was trained on; with other scanners, other hospitals \
or other patients it may do worse, and a score is not a calibrated probability.
Other pictures need the same preparation: {image_px} px, region `{region}`.

## Settings

```json
{settings}
```
"""


def write_model(out: Path, study: Study, progress: Progress) -> None:
    """Write ``history.csv``, ``MODEL_CARD.md`` and, last, ``model.safetensors``.

    The model is that of the best round; that it is there says that the study is done.
    """
    history = pd.DataFrame(list(progress.history))
    write_whole(out / "history.csv", lambda path: history.to_csv(path, index=False))
    card = model_card(study, progress)
    write_whole(out / "MODEL_CARD.md", lambda path: path.write_text(card))
    arrays = best_model(out, progress)
    described = {
        "study": study.to_json(),
        "round": str(progress.best_round),
        "thyroid_fl": thyroid_fl.__version__,
    }
    write_whole(
        out / "model.safetensors", lambda path: save_file(arrays, path, described)
    )


def model_card(study: Study, progress: Progress) -> str:
    """Return the card, in Markdown."""
    settings = dataclasses.asdict(study)
    row = progress.history[progress.best_round]
    # Round 0 is only validated, so its row has the validation's columns.
    validation = [
        f"- {name}: {row[name]:.4g}"
        for name in progress.history[0]
        if name != "round" and name in row
    ]
    return CARD.format(
        **settings,
        **{name: row[name] for name in ("n_hospitals", "n_failed", "n_examples")},
        best_round=progress.best_round,
        validation="\n".join(validation) or "- no hospital has validation pictures",
        version=thyroid_fl.__version__,
        settings=json.dumps(settings, indent=1),
    )
