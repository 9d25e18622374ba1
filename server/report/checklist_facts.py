"""What the settings say of a study, in sentences for the checklists.

A fact is what was set, counted or computed; never what was meant by it.
"""

from collections.abc import Callable, Sequence

from thyroid_fl.server.report.checklist import Fact
from thyroid_fl.server.report.words import STRATEGIES, TASKS, split_words
from thyroid_fl.settings import Study

Facts = dict[str, Fact]

SETTINGS = "settings"
"""Id of the section with the settings, on both pages."""
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}
OUTPUTS = {
    "detection": "Boxes with a score each.",
    "segmentation": "The probability of nodule of each pixel, cut at 0.5.",
    "classification": "A probability of malignancy from 0 to 1; of a patient the "
    "highest of the pictures.",
}
MODELS = {
    "detection": "YOLOv5u (ultralytics)",
    "segmentation": "A feature pyramid network (FPN)",
    "classification": "A DenseNet",
}
MEASURES = {
    "detection": "AP50, F1, sensitivity, false positives a picture.",
    "segmentation": "Dice, IoU, 95% Hausdorff distance.",
    "classification": "AUC, AUC within hospitals, sensitivity, specificity.",
}


def study_facts(studies: Sequence[Study], strategies: Sequence[str]) -> Facts:
    """Return what the settings say.

    Args:
        studies: one a task.
        strategies: federated ones, by the names of the settings.
    """
    named = " and ".join(STRATEGIES.get(name, name) for name in strategies)
    tasks = "; ".join(TASKS[study.task] for study in studies)
    technology = f"Deep learning, trained by federated learning ({named}): {tasks}."
    texts = {
        "technology": technology,
        "preprocessing": _of_all(studies, _preprocessing),
        "subsets": _of_all(studies, _subsets),
        "split": _of_all(studies, _split),
        "apart": "The patient: nobody is on two sides. Near-identical pictures on two "
        "sides are refused, too.",
        "model": _of_all(studies, _model),
        "initial": _of_all(studies, _initial),
        "training": _of_all(studies, _training),
        "selection": _of_all(studies, _selection),
        "ensemble": "None: every result is that of one model.",
        "metrics": _of_all(studies, lambda study: MEASURES[study.task]),
        "output": _of_all(studies, lambda study: OUTPUTS[study.task]),
        "predictors": "The pixels of the picture alone; no age, sex or history.",
        "building": _of_all(
            studies, lambda study: f"{_training(study)} {_selection(study)}"
        ),
        "details": "The settings of the study.",
    }
    if "fedbn" not in strategies:
        texts["updating"] = "None: the chosen model is tested as it is."
    if any(study.task == "classification" for study in studies):
        texts["imbalance"] = (
            "In classification none: the loss does not weigh the classes, and no "
            "picture is drawn more often."
        )
    return {name: Fact(text, SETTINGS) for name, text in texts.items()}


def licence(version: str) -> Fact:
    """Return under which licence the software can be had."""
    return Fact(f"The software: thyroid-fl {version}, AGPL-3.0-or-later.", SETTINGS)


def _of_all(studies: Sequence[Study], say: Callable[[Study], str]) -> str:
    """Return a sentence once where all tasks share it, else one a task."""
    texts = {study.task: say(study) for study in studies}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return " ".join(f"{task.capitalize()}: {text}" for task, text in texts.items())


def _preprocessing(study: Study) -> str:
    part = "The whole picture"
    if study.region == "nodule":
        part = f"The nodule\u2019s box with a margin of {study.margin:g} of its sides"
    return (
        f"{part}, in grey, fitted into a square of {study.image_px} px with its "
        "proportions kept."
    )


def _subsets(study: Study) -> str:
    needed = "readable pictures that have what the task needs"
    if study.region == "nodule":
        needed += ", and a box of the nodule"
    return f"All {needed}."


def _split(study: Study) -> str:
    folds = f", fold {study.fold} of {study.n_folds}" if study.n_folds else ""
    return (
        f"Split {study.split}, seed {study.split_seed}{folds}. "
        f"{split_words(study.split)}"
    )


def _model(study: Study) -> str:
    return (
        f"{MODELS[study.task]} of preset {study.preset}, norm {study.norm}; input: one "
        f"grey picture of {study.image_px} px."
    )


def _initial(study: Study) -> str:
    if study.weights:
        return f"Pretrained weights: {study.weights}."
    return "Random, by the seed; the same in all hospitals."


def _training(study: Study) -> str:
    return (
        f"{study.rounds} rounds of {study.local_epochs} passes in each hospital, "
        f"{OPTIMIZERS[study.optimizer]}, peak learning rate {study.learning_rate:g}, "
        f"weight decay {study.weight_decay:g}, batches of {study.batch_size}; rotation "
        f"up to {study.rotation_deg:g} degrees, flips: {study.flips}."
    )


def _selection(study: Study) -> str:
    if study.select_by == "last":
        return "The model of the last round."
    return f"The round that is best by {study.select_by} on validation pictures."
