"""Predicted boxes matched with true ones: what every detection measure starts from.

One class (nodule). P predicted and T true boxes of a picture; D predicted boxes of all
pictures, "detections"; C patients. Boxes are (x0, y0, x1, y1) with half-open pixels, so
that the area is (x1 - x0) (y1 - y0).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import FloatArray

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Picture = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, str]
"""Predicted boxes (P, 4), their scores (P,), true boxes (T, 4), and the patient."""


@dataclass(frozen=True, slots=True)
class Detections:
    """The detections of one model on its test pictures, the highest score first."""

    scores: FloatArray
    """Shape (D,), descending; equal scores in order of pictures, then of boxes."""
    is_true: BoolArray
    """Whether the detection has a true box to itself, shape (D,)."""
    cluster: IntArray
    """Patient of each detection, as place in `patients`, shape (D,)."""
    patients: tuple[str, ...]
    """Names of all patients, C of them; with and without detections or true boxes."""
    n_truth: IntArray
    """True boxes of each patient, found or missed, shape (C,)."""
    n_pictures: IntArray
    """Pictures of each patient, shape (C,)."""


def match_detections(
    pictures: Iterable[Picture], *, iou_threshold: float = 0.5
) -> Detections:
    """Return the detections of all pictures, each true or false.

    Greedy, as COCO does: from the highest score down, a prediction takes the true box
    of its picture that is still free and overlaps most, if the IoU is at least the
    threshold; the rest are false. Of equal scores the earlier box is served first, of
    equal overlaps the later true box is taken (so pycocotools). Unlike there, a picture
    may have more than 100 predictions. A picture may lack true boxes, predictions, or
    both.

    Args:
        pictures: predicted boxes (P, 4), scores (P,), true boxes (T, 4), patient; a
            patient's name is the same in all runs, and no other's.
        iou_threshold: smallest IoU of a match, above 0, at most 1.

    Raises:
        ConfigError: shapes do not fit, a number is not finite, a box is turned inside
            out, a true box has no area, or a patient has no name.

    >>> found = match_detections([([[0, 0, 2, 2], [0, 0, 2, 1]], [.9, .8],
    ...                            [[0, 0, 2, 2]], "a")])
    >>> found.is_true.tolist(), found.n_truth.tolist()
    ([True, False], [1])
    """
    if not 0 < iou_threshold <= 1:
        raise ConfigError(
            f"iou_threshold is {iou_threshold}; expected above 0, at most 1"
        )
    places: dict[str, int] = {}
    scores, is_true, cluster = [np.empty(0)], [np.empty(0, bool)], [np.empty(0, int)]
    truth_of, picture_of = [], []
    for number, (predicted, their_scores, true, patient) in enumerate(pictures, 1):
        if not isinstance(patient, str) or not patient:
            raise ConfigError(f"picture {number} has no patient; name it")
        boxes, values, truth = _read(number, predicted, their_scores, true)
        place = places.setdefault(patient, len(places))
        scores.append(values)
        is_true.append(_match(box_iou(boxes, truth), values, iou_threshold))
        cluster.append(np.full(len(values), place))
        truth_of += [place] * len(truth)
        picture_of.append(place)
    together = np.concatenate(scores)
    order = np.argsort(-together, kind="stable")
    return Detections(
        scores=together[order],
        is_true=np.concatenate(is_true)[order],
        cluster=np.concatenate(cluster)[order],
        patients=tuple(places),
        n_truth=np.bincount(np.array(truth_of, dtype=int), minlength=len(places)),
        n_pictures=np.bincount(np.array(picture_of, dtype=int), minlength=len(places)),
    )


def box_iou(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return the IoU of each box with each other box, (P, 4) and (T, 4) to (P, T).

    From 0 to 1; two boxes without area have 0.
    """
    first, second = boxes[:, None], others[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    total = _areas(first) + _areas(second) - shared
    # Without an area there is no overlap either: 0 / 1.
    return np.asarray(shared / np.where(total > 0, total, 1))


def _match(iou: FloatArray, scores: FloatArray, threshold: float) -> BoolArray:
    """Return which predictions take a true box, from their IoU (P, T), shape (P,)."""
    is_true: BoolArray = np.zeros(len(iou), dtype=bool)
    if iou.size == 0:
        return is_true
    enough = min(threshold, 1 - 1e-10)  # as pycocotools: equal boxes pass at 1
    free = np.ones(iou.shape[1], dtype=bool)
    order = np.argsort(-scores, kind="stable")
    for row in order[iou.max(axis=1)[order] >= enough]:
        overlaps = np.where(free, iou[row], -1.0)
        best = len(free) - 1 - int(np.argmax(overlaps[::-1]))  # the last of equals
        if overlaps[best] >= enough:
            is_true[row], free[best] = True, False
    return is_true


def _read(
    number: int, boxes: npt.ArrayLike, scores: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    predicted, true = _read_boxes(number, boxes), _read_boxes(number, truth)
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != predicted.shape[:1] or not np.all(np.isfinite(values)):
        raise ConfigError(
            f"picture {number}: {len(predicted)} boxes and scores of shape "
            f"{values.shape}; expected one finite score a box"
        )
    if np.any(_areas(true) <= 0):
        raise ConfigError(f"picture {number}: a true box has no area; mend it")
    return predicted, values, true


def _read_boxes(number: int, boxes: npt.ArrayLike) -> FloatArray:
    read = np.asarray(boxes, dtype=np.float64)
    if read.size == 0:
        return np.empty((0, 4))
    if read.ndim != 2 or read.shape[1] != 4:
        raise ConfigError(
            f"picture {number}: boxes have shape {read.shape}; expected (boxes, 4), "
            "each x0, y0, x1, y1"
        )
    if not np.all(np.isfinite(read)) or np.any(read[:, :2] > read[:, 2:]):
        raise ConfigError(
            f"picture {number}: a box is not finite, or inside out; expected "
            "x0 <= x1 and y0 <= y1"
        )
    return read


def _areas(boxes: FloatArray) -> FloatArray:
    sides = boxes[..., 2:] - boxes[..., :2]
    return np.asarray(np.prod(sides, axis=-1))
