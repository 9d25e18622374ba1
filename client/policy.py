"""A hospital's own rules: what a study may ask of it, whatever the centre sends."""

import dataclasses
import tomllib
import types
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from thyroid_fl.errors import ConfigError, PolicyError
from thyroid_fl.settings import STRATEGY_NAMES, TASK_NAMES, Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What this hospital takes part in; every limit is given, none has a default."""

    tasks: tuple[str, ...]
    """Tasks that may be trained: some of `settings.TASK_NAMES`."""
    strategies: tuple[str, ...]
    """Strategies that a study may use: some of `settings.STRATEGY_NAMES`."""
    most_rounds: int
    """Rounds that one study may have, from 1."""
    most_local_epochs: int
    """Passes over this hospital's training pictures in one round, from 1."""
    least_hospitals: int
    """Quorum that a study must ask for: a mean of few hides nobody. From 1."""
    least_noise: float
    """Noise multiplier of differential privacy that a study must add, from 0. The
    studies of this version add none: above 0 every training is refused."""
    evaluation: Literal["scores", "histogram", "metrics"]
    """The most detailed result of an evaluation that may leave the hospital: each
    case's score, a histogram of them, or only the metrics."""


def read_policy(path: Path) -> Policy:
    """Return the policy in a TOML file.

    Raises:
        ConfigError: the file cannot be read; a key is missing or unknown; a value has
            the wrong type or is out of range. The text names the file.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the policy: {error}") from error
    try:
        return _policy(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def check_study(policy: Policy, study: Study) -> None:
    """Refuse a study that asks for more than the policy allows.

    Raises:
        PolicyError: one sentence for every limit that the study breaks. It names
            settings and limits only, and may be shown to the centre.
    """
    broken = [
        *_not_among("task", study.task, policy.tasks),
        *_not_among("strategy", study.strategy, policy.strategies),
        *_too_many("rounds", study.rounds, policy.most_rounds),
        *_too_many("local_epochs", study.local_epochs, policy.most_local_epochs),
    ]
    if study.min_hospitals < policy.least_hospitals:
        broken.append(
            f"min_hospitals is {study.min_hospitals}; this hospital asks for at least "
            f"{policy.least_hospitals}"
        )
    if policy.least_noise > 0:
        broken.append(
            "the study adds no noise (differential privacy); this hospital asks for a "
            f"noise multiplier of at least {policy.least_noise:g}"
        )
    if broken:
        raise PolicyError(". ".join(broken) + ".")


def _not_among(name: str, value: str, allowed: tuple[str, ...]) -> list[str]:
    if value in allowed:
        return []
    listed = ", ".join(allowed) or "none"
    return [f"{name} is {value}; this hospital allows {listed}"]


def _too_many(name: str, value: int, most: int) -> list[str]:
    if value <= most:
        return []
    return [f"{name} is {value}; this hospital allows at most {most}"]


def _policy(values: dict[str, Any]) -> Policy:
    known = [field.name for field in dataclasses.fields(Policy)]
    for name in values:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            guess = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"unknown key {name!r}.{guess} Known keys: {', '.join(known)}"
            )
    if missing := [name for name in known if name not in values]:
        raise ConfigError(
            f"the key {missing[0]} is missing; every limit must be given: "
            f"{', '.join(known)}"
        )
    for name, expected in get_type_hints(Policy).items():
        values[name] = _typed(name, values[name], expected)
    _check_names(values)
    for name in ("most_rounds", "most_local_epochs", "least_hospitals"):
        if values[name] < 1:
            raise ConfigError(f"{name} is {values[name]}; expected at least 1")
    if not 0 <= values["least_noise"] < float("inf"):
        raise ConfigError(
            f"least_noise is {values['least_noise']}; expected a number from 0"
        )
    return Policy(**values)


def _typed(name: str, value: Any, expected: Any) -> Any:
    """Return the value as the policy keeps it; raise if it is of another type."""
    if get_origin(expected) is Literal:
        if value not in get_args(expected):
            allowed = ", ".join(get_args(expected))
            raise ConfigError(f"{name} is {value!r}; expected one of: {allowed}")
        return value
    if get_origin(expected) is tuple:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ConfigError(f'{name} is {value!r}; expected a list such as ["NAME"]')
        return tuple(value)
    accepted = (int, float) if expected is float else expected
    if isinstance(value, bool):
        accepted = types.NoneType
    if not isinstance(value, accepted):
        raise ConfigError(
            f"{name} is {value!r}; expected a value of type {expected.__name__}"
        )
    return expected(value)


def _check_names(values: dict[str, Any]) -> None:
    """Refuse a name that no study can have: it would be a typing error."""
    for key, known in (("tasks", TASK_NAMES), ("strategies", STRATEGY_NAMES)):
        for name in values[key]:
            if name not in known:
                raise ConfigError(
                    f"{key} lists {name!r}; expected some of: {', '.join(known)}"
                )
