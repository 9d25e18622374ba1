"""What a nodule shows, given its pathology: C-TIRADS findings with a known ceiling.

One latent variable makes six binary features hang together; a logistic model of the
features, with a few labels flipped, makes the pathology. All 2^6 combinations are
enumerated, so features are drawn from their exact distribution given the pathology and
the best possible AUC (`bayes_auc`) is a sum, not a simulation.

The probabilities, weights and loadings are assumptions of the simulation, not
measurements. The count of findings is C-TIRADS 2020 (Zhou et al.).
"""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from thyroid_fl.readers.categories import Category, ctirads

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class NoduleFeatures:
    """The six findings that C-TIRADS counts; the comet tail is the benign one."""

    solid: bool
    """No cystic part; otherwise partly cystic or spongiform."""
    vertical: bool
    """Taller than wide."""
    marked_hypo: bool
    """Darker than the strap muscles; solid nodules only."""
    microcalcifications: bool
    """Several bright points of less than a millimetre."""
    irregular: bool
    """Lobulated, spiculated or ill-defined margin."""
    comet_tail: bool
    """Bright points with a tail, in the colloid of nodules that are not solid."""


# In the order of the fields of `NoduleFeatures`.
_PROBABILITY = np.array([0.62, 0.28, 0.25, 0.28, 0.33, 0.22])
_LOADING = np.array([0.45, 0.45, 0.45, 0.45, 0.45, -0.45])
_WEIGHT = 1.8 * np.array([1.9, 2.2, 1.9, 2.3, 2.0, -2.2])
_INTERCEPT = 1.8 * -3.2
_LABEL_FLIPS = 0.02
_COMBINATIONS = np.array(list(np.ndindex((2,) * 6)), dtype=bool)  # (64, 6)


def nodule_features(malignant: bool, rng: np.random.Generator) -> NoduleFeatures:
    """Draw a nodule's features given its pathology."""
    benign_p, malignant_p = _feature_distributions()
    drawn = rng.choice(len(_COMBINATIONS), p=malignant_p if malignant else benign_p)
    names = (field.name for field in fields(NoduleFeatures))
    return NoduleFeatures(
        **dict(zip(names, map(bool, _COMBINATIONS[drawn]), strict=True))
    )


def bayes_score(features: NoduleFeatures) -> float:
    """Return the best possible score, in (0, 1): P(malignant | features) in the model.

    In a cohort of another prevalence the probability differs, but not its order.
    """
    return float(_malignancy(_as_array(features)))


def bayes_auc() -> float:
    """Return the AUC of `bayes_score`: the ceiling of any reader of the pictures.

    Exact, by enumeration; ties count one half. A cohort fixes the pathology and draws
    the features given it, and an AUC compares a malignant with a benign case, so its
    prevalence does not matter.
    """
    benign_p, malignant_p = _feature_distributions()
    score = _malignancy(_COMBINATIONS)
    wins = (score[:, None] > score) + 0.5 * (score[:, None] == score)
    return float(malignant_p @ wins @ benign_p)


def tirads(features: NoduleFeatures) -> Category:
    """Return the C-TIRADS category: positive findings minus the comet tail, -1 to 5.

    >>> tirads(NoduleFeatures(solid=True, vertical=True, marked_hypo=False,
    ...     microcalcifications=False, irregular=False, comet_tail=False))
    '4b'
    """
    return ctirads(
        solid=features.solid,
        vertical=features.vertical,
        markedly_hypoechoic=features.marked_hypo,
        microcalcifications=features.microcalcifications,
        irregular_margin=features.irregular,
        comet_tail=features.comet_tail,
    )


def _as_array(features: NoduleFeatures) -> npt.NDArray[np.bool_]:
    return np.array([getattr(features, field.name) for field in fields(features)])


def _malignancy(combinations: npt.NDArray[np.bool_]) -> Floats:
    """Return P(malignant | features) of combinations (..., 6)."""
    logit = combinations @ _WEIGHT + _INTERCEPT
    return np.asarray(
        _LABEL_FLIPS + (1 - 2 * _LABEL_FLIPS) / (1 + np.exp(-logit)), dtype=np.float64
    )


@lru_cache(maxsize=1)
def _feature_distributions() -> tuple[Floats, Floats]:
    """Return P(combination | benign) and P(combination | malignant), (64,) each.

    Given the latent the findings are independent probits, apart from two rules of
    anatomy: only solid nodules are markedly hypoechoic, only others have comet tails.
    The latent is integrated out by Gauss-Hermite quadrature.
    """
    latent, node_weight = np.polynomial.hermite_e.hermegauss(80)
    on = norm.cdf(
        (norm.ppf(_PROBABILITY) + latent[:, None] * _LOADING) / np.sqrt(1 - _LOADING**2)
    )  # (nodes, 6)
    on = np.broadcast_to(on[:, None], (len(latent), *_COMBINATIONS.shape)).copy()
    solid = _COMBINATIONS[:, 0]
    on[:, ~solid, 2] = 0
    on[:, solid, 5] = 0
    given_latent = np.where(_COMBINATIONS, on, 1 - on).prod(axis=-1)  # (nodes, 64)
    probability = node_weight @ given_latent / node_weight.sum()
    malignant = probability * _malignancy(_COMBINATIONS)
    benign = probability - malignant
    return benign / benign.sum(), malignant / malignant.sum()
