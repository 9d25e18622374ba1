"""Categories of suspicion from findings: C-TIRADS 2020 and ACR TI-RADS 2017.

A category is text, as radiologists write it; its code is a whole number, of which only
the order has a meaning.
"""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError

Category = Literal["2", "3", "4a", "4b", "4c", "5"]
CATEGORIES: tuple[Category, ...] = ("3", "4a", "4b", "4c", "5")
"""The scale of the paper's readers."""
CODES: dict[str, int] = {"2": 0, "3": 1, "4a": 2, "4b": 3, "4c": 4, "5": 5}
"""Rank of each category; assistance may go to 6, above 5 (`rule_based`)."""
_CTIRADS: tuple[Category, ...] = ("2", "3", "4a", "4b", "4c", "4c", "5")  # from -1

Composition = Literal["cystic", "spongiform", "mixed", "solid"]
Echogenicity = Literal[
    "anechoic", "hyperechoic", "isoechoic", "hypoechoic", "very_hypo"
]
Margin = Literal["smooth", "ill_defined", "lobulated", "irregular", "extrathyroidal"]
Focus = Literal["comet_tail", "macrocalcification", "rim", "punctate"]
AcrLevel = Literal["TR1", "TR2", "TR3", "TR4", "TR5"]
_COMPOSITION = {"cystic": 0, "spongiform": 0, "mixed": 1, "solid": 2}
_ECHOGENICITY = {
    "anechoic": 0, "hyperechoic": 1, "isoechoic": 1, "hypoechoic": 2, "very_hypo": 3,
}  # fmt: skip
_MARGIN = {
    "smooth": 0, "ill_defined": 0, "lobulated": 2, "irregular": 2, "extrathyroidal": 3,
}  # fmt: skip
_FOCI = {"comet_tail": 0, "macrocalcification": 1, "rim": 2, "punctate": 3}


def ctirads(
    *,
    vertical: bool = False,
    solid: bool = False,
    markedly_hypoechoic: bool = False,
    microcalcifications: bool = False,
    irregular_margin: bool = False,
    extrathyroidal_extension: bool = False,
    comet_tail: bool = False,
) -> Category:
    """Return the C-TIRADS category of a nodule by counting (Zhou et al. 2020).

    One point for each suspicious finding, irregular or ill-defined margins and
    extrathyroidal extension together one; comet-tail artefacts take one away. The sum
    is from -1 to 5: category 2, 3, 4a, 4b, 4c (three and four points) and 5. Category 1
    is no nodule and 6 is proven by biopsy: neither is counted.

    Args:
        vertical: taller than wide.
        solid: no cystic part.
        markedly_hypoechoic: darker than the strap muscles.
        microcalcifications: punctate echogenic foci that are not comet tails.
        irregular_margin: irregular or ill-defined.
        extrathyroidal_extension: beyond the capsule.
        comet_tail: comet-tail artefacts.

    >>> ctirads(solid=True, comet_tail=True), ctirads(solid=True, vertical=True)
    ('3', '4b')
    """
    suspicious = (
        vertical,
        solid,
        markedly_hypoechoic,
        microcalcifications,
        irregular_margin or extrathyroidal_extension,
    )
    return _CTIRADS[sum(map(bool, suspicious)) - bool(comet_tail) + 1]


def acr_points(
    *,
    composition: Composition,
    echogenicity: Echogenicity,
    taller_than_wide: bool = False,
    margin: Margin = "smooth",
    foci: tuple[Focus, ...] = (),
) -> int:
    """Return the points of ACR TI-RADS (Tessler et al. 2017).

    A spongiform nodule has 0, whatever else it shows; points of several kinds of
    echogenic foci add up.

    Raises:
        ConfigError: a word is unknown.

    >>> acr_points(composition="solid", echogenicity="hypoechoic", foci=("punctate",))
    7
    """
    if composition == "spongiform":
        return 0
    return (
        _points(_COMPOSITION, "composition", composition)
        + _points(_ECHOGENICITY, "echogenicity", echogenicity)
        + 3 * bool(taller_than_wide)
        + _points(_MARGIN, "margin", margin)
        + sum(_points(_FOCI, "foci", focus) for focus in set(foci))
    )


def acr_level(points: int) -> AcrLevel:
    """Return the level of a sum of points: 0, 1 to 2, 3, 4 to 6, and from 7.

    The ACR's table has no sum of 1; it counts as TR2 here.

    Raises:
        ConfigError: fewer than 0 points.
    """
    if points < 0:
        raise ConfigError(f"{points} points; expected 0 or more")
    levels: tuple[AcrLevel, ...] = ("TR1", "TR2", "TR2", "TR3", "TR4", "TR4", "TR4")
    return levels[points] if points < len(levels) else "TR5"


def as_codes(categories: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the codes of categories, in the same shape.

    Raises:
        ConfigError: one is unknown.
    """
    names = np.asarray(categories, dtype=str)
    unknown = sorted(set(names.ravel().tolist()) - set(get_args(Category)))
    if unknown:
        raise ConfigError(
            f"a category is {unknown[0]!r}; expected one of {', '.join(CODES)}"
        )
    flat = [CODES[name] for name in names.ravel().tolist()]
    return np.array(flat, dtype=np.int64).reshape(names.shape)


def _points(scheme: dict[str, int], name: str, word: str) -> int:
    if word not in scheme:
        raise ConfigError(f"{name} is {word!r}; expected one of {', '.join(scheme)}")
    return scheme[word]
