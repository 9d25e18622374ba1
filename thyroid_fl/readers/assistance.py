"""Rule-based assistance: a reader's category goes one up or down with the AI's call."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.readers.categories import CODES

Policy = Literal["clamp", "extend", "guideline"]
PatientRule = Literal["images", "patient"]
IntArray = npt.NDArray[np.int64]


def rule_based(
    codes: npt.ArrayLike, calls: npt.ArrayLike, policy: Policy = "clamp"
) -> IntArray:
    """Return categories moved by one: up where the AI says malignant, else down.

    The paper tells no rule for a 3 that goes down and a 5 that goes up:

    ``clamp``      both stay; the scale is 3, 4a, 4b, 4c, 5
    ``extend``     both go to a level of their own, 0 and 6, for ranks only
    ``guideline``  3 goes down to 2, which C-TIRADS has; 5 stays, as 6 is no grade of
                   suspicion but proven by biopsy

    Args:
        codes: of the readers' categories (`CODES`), shape (..., N).
        calls: whether the AI says malignant, shape (N,).
        policy: what happens at the ends.

    Raises:
        ConfigError: the policy is unknown, a code is off its scale, or shapes differ.

    >>> rule_based([1, 1, 5, 5], [True, False, True, False]).tolist()
    [2, 1, 5, 4]
    """
    ratings, positive = np.asarray(codes), np.asarray(calls)
    if policy not in get_args(Policy):
        known = ", ".join(get_args(Policy))
        raise ConfigError(f"policy is {policy!r}; expected one of: {known}")
    if ratings.shape[-1:] != positive.shape or positive.dtype != bool:
        raise ConfigError(
            f"categories have shape {ratings.shape} and calls {positive.shape}; "
            "expected one call, true or false, a case"
        )
    lowest = CODES["2"] if policy == "guideline" else CODES["3"]
    if np.any((ratings < lowest) | (ratings > CODES["5"])):
        raise ConfigError(
            f"a category is off the scale of policy {policy!r}, which is "
            f"{'2' if policy == 'guideline' else '3'} to 5; with a category 2 use "
            "'guideline'"
        )
    moved = ratings + np.where(positive, 1, -1)
    if policy != "extend":
        moved = np.clip(moved, lowest, CODES["5"])
    return np.asarray(moved, dtype=np.int64)


def of_patients(
    values: npt.NDArray[np.generic], patients: npt.ArrayLike
) -> npt.NDArray[np.generic]:
    """Return each patient's highest value, patients in order of appearance.

    Args:
        values: shape (..., N), N images.
        patients: of each image, shape (N,).

    Returns:
        Shape (..., P).
    """
    groups, _ = pd.factorize(np.asarray(patients))
    flat = values.reshape(-1, values.shape[-1])
    highest = pd.DataFrame(flat.T).groupby(groups).max().to_numpy().T
    return np.asarray(highest.reshape(*values.shape[:-1], -1), dtype=values.dtype)


def rule_based_patients(
    codes: npt.ArrayLike,
    calls: npt.ArrayLike,
    patients: npt.ArrayLike,
    policy: Policy = "clamp",
    rule: PatientRule = "images",
) -> IntArray:
    """Return each patient's category with assistance, in order of appearance.

    ``images``: each image's category moves with the call on that image, and the
    highest counts. ``patient``: the patient's highest category moves with the call on
    the patient, malignant if it is on any image. The paper does not say which it is.

    Args:
        codes: of the categories of the images, shape (..., N).
        calls: on the images, shape (N,).
        patients: of each image, shape (N,).
        policy: see `rule_based`.
        rule: which of the two.

    Raises:
        ConfigError: see `rule_based`; or the rule is unknown.
    """
    if rule not in get_args(PatientRule):
        raise ConfigError(f"patient rule is {rule!r}; expected images or patient")
    if rule == "images":
        moved = rule_based(codes, calls, policy)
        return np.asarray(of_patients(moved, patients), dtype=np.int64)
    highest = of_patients(np.asarray(codes), patients)
    called = of_patients(np.asarray(calls), patients)
    return rule_based(highest, called.astype(bool), policy)
