"""The settings of a study: one frozen value, the same in simulation and deployment.

``make_study(**read_settings("study.toml"))`` reads one; command-line flags override
single fields; ``Study.to_json`` is what travels to the hospitals and what provenance
prints.
Unknown settings are refused with the known ones listed.
"""

import dataclasses
import json
import tomllib
import types
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from thyroid_fl.errors import ConfigError

TASK_NAMES = ("detection", "segmentation", "classification")
STRATEGY_NAMES = ("fedavg", "fedprox", "fedadam", "fedbn")
"""The keys of `tasks.TASKS` and `strategies.STRATEGIES`, which bring torch and Flower
with them: a hospital's program that only keeps the connection would hold 0.8 GB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Everything that decides what a training gives, apart from the pictures.

    The defaults are preset ``small``: the paper's families scaled down so that two
    CPU cores finish in minutes.
    """

    data: str = "synthetic"
    """A manifest (CSV or Parquet), or ``synthetic``: the 208-hospital cohort."""
    task: str = "classification"
    """What the model does: a name in `thyroid_fl.tasks.TASKS`."""
    preset: str = "small"
    """Size of model and pictures; sets the defaults of the fields below."""
    region: Literal["whole", "nodule"] = "whole"
    """The whole picture (as the paper), or the nodule's box with a margin."""
    margin: float = 0.25
    """Margin on each side of the nodule's box, as a fraction of that side."""
    image_px: int = 64
    """Side of the square pictures that the model sees, in pixels."""
    split: str = "hospital"
    """``patient``, ``hospital``, ``vendor:NAME``, ``region:NAME``, ``manifest``, or
    ``table:PATH``."""
    fold: int = 0
    """Which fold of a cross-validation, from 1; 0: a single split."""
    n_folds: int = 0
    """How many folds the cross-validation has; 0: a single split."""
    split_seed: int = 1
    """Seed of the split; the trainings' seeds share one split."""
    norm: Literal["batch", "group", "weight"] = "weight"
    """How signals keep their scale: BatchNorm, GroupNorm, or `weight`, standardised
    kernels without normalisation layers, which suits small and differing hospitals."""
    weights: str = ""
    """A file of pretrained weights (safetensors or a torch state_dict), or empty."""
    rounds: int = 8
    """How often the hospitals train and the centre averages."""
    local_epochs: int = 2
    """Passes over a hospital's training pictures in one round."""
    batch_size: int = 8
    """Pictures in one optimizer step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """The hospitals' optimizer; fresh in every round."""
    learning_rate: float = 1e-3
    """Peak of the hospitals' rate; a cosine over the rounds after the warm-up."""
    warmup_rounds: int = 1
    """Rounds over which the learning rate rises linearly."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-2
    """Weight decay of the hospitals' optimizer."""
    rotation_deg: float = 5.0
    """Augmentation: largest rotation to either side, in degrees."""
    flips: Literal["none", "horizontal", "both"] = "horizontal"
    """Augmentation: flips, each with probability one half. A vertical flip turns
    shadows upwards: from scratch it costs a small model dearly (benchmarks)."""
    strategy: str = "fedavg"
    """How updates become the next model: a name in `strategies.STRATEGIES`."""
    proximal_mu: float = 0.01
    """FedProx: weight of the pull towards the global model (Li et al. 2020)."""
    server_learning_rate: float = 0.01
    """FedAdam: the centre's learning rate (Reddi et al. 2021)."""
    download: Literal["fp32", "bf16"] = "fp32"
    """The model on its way to the hospitals; bf16 halves it and rounds it to 8 bits."""
    upload: Literal["fp32", "bf16", "int8"] = "fp32"
    """The model on its way back: fp32 as it is, else its difference from what was sent;
    what rounding cuts off is added in the hospital's next round (error feedback)."""
    participation: float = 1.0
    """Share of the connected hospitals that train in a round, drawn anew each round."""
    select_by: str = "loss"
    """Validation metric that chooses the best round; ``last`` takes the last."""
    seed: int = 1
    """Seed of initial weights, batches and augmentation."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where hospitals compute."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward pass; `auto` takes bf16 where it pays."""
    threads: int = 0
    """Threads of one hospital's process; 0: all cores."""
    min_hospitals: int = 1
    """Quorum: a round with fewer usable replies stops the study."""
    wait_s: float = 600.0
    """How long the centre waits for the quorum to connect, in seconds."""
    round_deadline_s: float = 3600.0
    """How long a round waits for replies, in seconds."""

    def __post_init__(self) -> None:
        for name, expected in get_type_hints(type(self)).items():
            _check_type(name, getattr(self, name), expected)
        _check_ranges(self)

    def to_json(self) -> str:
        """Return the settings as one line of JSON, keys sorted."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Study":
        """Return the study that `to_json` wrote."""
        return cls(**_known(json.loads(text), "the study's JSON"))


def make_study(**settings: Any) -> Study:
    """Return the study with a preset's defaults and these settings over them.

    Raises:
        ConfigError: a setting is unknown, of the wrong type, or out of range.

    >>> make_study(preset="paper").image_px
    512
    """
    # The tasks import this module, and torch: only who makes a study needs them.
    from thyroid_fl.tasks import TASKS

    _known(settings, "the settings")
    task = settings.get("task", "classification")
    if task not in TASKS:
        raise ConfigError(f"no task {task!r}; expected one of: {', '.join(TASKS)}")
    presets, preset = TASKS[task].presets, settings.get("preset", "small")
    if preset not in presets:
        raise ConfigError(
            f"no preset {preset!r} for {task}; expected one of: {', '.join(presets)}"
        )
    return Study(**{**presets[preset], **settings})


def read_settings(path: Path | str) -> dict[str, Any]:
    """Return the settings in a TOML file, as `make_study` takes them.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown.
    """
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the study: {error}") from error
    return _known(settings, str(path))


def parse_setting(text: str) -> tuple[str, Any]:
    """Return name and value of ``NAME=VALUE``, the value of its field's type.

    Raises:
        ConfigError: the text has no ``=``, the name is unknown, or the value is of
            another type.

    >>> parse_setting("rounds=3")
    ('rounds', 3)
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"setting {text!r}: expected NAME=VALUE")
    _known({name: value}, "--set")
    kind = get_type_hints(Study)[name]
    try:
        return name, value if get_origin(kind) is Literal else kind(value)
    except ValueError as error:
        raise ConfigError(
            f"{name} is {value!r}; expected a value of type {kind.__name__}"
        ) from error


@lru_cache
def study_from(text: str) -> Study:
    """Return the study that a run-config value names.

    Args:
        text: the study's JSON, the path of a study.toml, or empty for the defaults.

    Raises:
        ConfigError: as `read_settings` and `make_study`.
    """
    if text.startswith("{"):
        return Study.from_json(text)
    return make_study(**read_settings(text)) if text else make_study()


def _known(settings: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the settings; raise if one is not a field of `Study`."""
    known = [field.name for field in dataclasses.fields(Study)]
    for name in settings:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            guess = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"{where}: unknown setting {name!r}.{guess} "
                f"Known settings: {', '.join(known)}"
            )
    return settings


def _check_type(name: str, value: object, expected: Any) -> None:
    if get_origin(expected) is Literal:
        if value not in get_args(expected):
            allowed = ", ".join(map(str, get_args(expected)))
            raise ConfigError(f"{name} is {value!r}; expected one of: {allowed}")
        return
    accepted = (int, float) if expected is float else expected
    if isinstance(value, bool) and expected is not bool:
        accepted = types.NoneType
    if not isinstance(value, accepted):
        raise ConfigError(
            f"{name} is {value!r}; expected a value of type {expected.__name__}"
        )


def _check_ranges(study: Study) -> None:
    at_least: dict[str, float] = {
        "margin": 0, "image_px": 32, "fold": 0, "n_folds": 0, "rounds": 1,
        "local_epochs": 1, "batch_size": 1, "warmup_rounds": 0, "momentum": 0,
        "weight_decay": 0, "rotation_deg": 0, "proximal_mu": 0, "seed": 0,
        "split_seed": 0, "threads": 0, "min_hospitals": 1, "wait_s": 0,
    }  # fmt: skip
    for name, least in at_least.items():
        if not getattr(study, name) >= least:
            raise ConfigError(
                f"{name} is {getattr(study, name)}; expected at least {least:g}"
            )
    for name in ("learning_rate", "server_learning_rate", "round_deadline_s"):
        if not getattr(study, name) > 0:
            raise ConfigError(f"{name} is {getattr(study, name)}; expected more than 0")
    if not 0 < study.participation <= 1:
        raise ConfigError(
            f"participation is {study.participation}; expected more than 0, at most 1"
        )
    if study.strategy == "fedbn" and study.norm != "batch":
        raise ConfigError(
            f"strategy is 'fedbn' with norm = {study.norm!r}: without BatchNorm there "
            "are no layers that could stay in the hospitals; set norm = 'batch', or "
            "strategy = 'fedavg'"
        )
    if study.norm != "weight" and study.image_px < 64:
        raise ConfigError(
            f"image_px is {study.image_px} with norm = {study.norm!r}: below 64 px too "
            "few numbers are left to normalise; use at least 64, or norm = 'weight' "
            "(which detection does not take)"
        )
    if study.fold > study.n_folds:
        raise ConfigError(f"fold is {study.fold} of n_folds {study.n_folds}")
    kind, _, name = study.split.partition(":")
    named = ("vendor", "region", "table")
    if kind not in ("patient", "hospital", "manifest", *named) or (
        (kind in named) != bool(name)
    ):
        raise ConfigError(
            f"split is {study.split!r}; expected patient, hospital, vendor:NAME, "
            "region:NAME, manifest (the manifest's own split column), or table:PATH"
        )
