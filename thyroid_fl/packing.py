"""A model's arrays as one string of bytes: what a message between the sides carries.

One object a message, because Flower fetches every array of a record on its own. Centre
and hospital both have the model, so names and shapes do not travel: only a fingerprint
of them, by which a message for another model is known.

Encodings:
    fp32: the arrays as they are, 4 bytes a number.
    bf16: rounded to the nearest bfloat16 (8 significant bits, the range of fp32).
    int8: arrays of two and more dimensions as integers of -127 to 127 times a scale for
        each output channel, the largest magnitude in it / 127; all others as bf16.
        Meant for differences between two models, with what is cut off added to the next
        one (error feedback: Seide et al. 2014; Karimireddy et al. 2019).

What bf16 and int8 leave of order, such as the exponents of weights, which lie close
together, is compressed without loss (DEFLATE).
"""

import hashlib
import zlib
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes, in the order of the model."""
Encoding = Literal["fp32", "bf16", "int8"]

FINGERPRINT_BYTES = 16
DEFLATE_LEVEL = 1
"""The fastest: higher ones take 3 times as long for 2 % less."""
INT8_MOST = 127


def shapes_of(arrays: Mapping[str, NDArray[Any]]) -> Shapes:
    """Return the arrays' names and shapes."""
    return tuple((name, array.shape) for name, array in arrays.items())


def pack(arrays: Mapping[str, NDArray[Any]], encoding: Encoding) -> bytes:
    """Return floating-point arrays as bytes.

    Raises:
        ValueError: int8 cannot hold a number that is not finite.
    """
    parts: list[bytes | memoryview] = [fingerprint(shapes_of(arrays))]
    if encoding == "fp32":
        return b"".join([*parts, *(_float32(a).data for a in arrays.values())])
    matrices, others = _split(arrays, encoding)
    if others:
        halves = _to_bf16(np.concatenate([a.ravel() for a in others]))
        planes = halves.view(np.uint8).reshape(-1, 2)
        # The upper byte is sign and exponent; the lower one is close to noise.
        parts += [_deflated(planes[:, 1].tobytes()), planes[:, 0].tobytes()]
    if matrices:
        scales = [_scales(a) for a in matrices]
        integers = [_to_int8(a, s) for a, s in zip(matrices, scales, strict=True)]
        parts.append(np.concatenate(scales).astype("<f4").tobytes())
        parts.append(_deflated(b"".join(i.tobytes() for i in integers)))
    return b"".join(parts)


def unpack(content: bytes, encoding: Encoding, shapes: Shapes) -> Arrays:
    """Return float32 arrays of these names and shapes; fp32 ones are read-only views.

    Raises:
        ValueError: the bytes hold another model, too few numbers or too many.
    """
    if content[:FINGERPRINT_BYTES] != fingerprint(shapes):
        raise ValueError("it is of another model (its names or shapes differ)")
    reader = _Reader(content, FINGERPRINT_BYTES)
    sizes = {name: prod(shape) for name, shape in shapes}
    if encoding == "fp32":
        values = np.frombuffer(reader.take(4 * sum(sizes.values())), "<f4")
        reader.finish()
        return _cut(values, shapes)
    is_matrix = {n: encoding == "int8" and len(shape) > 1 for n, shape in shapes}
    others = tuple((n, shape) for n, shape in shapes if not is_matrix[n])
    matrices = tuple((n, shape) for n, shape in shapes if is_matrix[n])
    found: Arrays = {}
    if others:
        n_values = sum(sizes[n] for n, _ in others)
        upper = np.frombuffer(reader.inflate(n_values), np.uint8).astype(np.uint32)
        lower = np.frombuffer(reader.take(n_values), np.uint8)
        found |= _cut((upper << 24 | lower.astype(np.uint32) << 16).view("<f4"), others)
    if matrices:
        n_scales = sum(shape[0] for _, shape in matrices)
        scales = np.frombuffer(reader.take(4 * n_scales), "<f4")
        n_values = sum(sizes[n] for n, _ in matrices)
        integers = np.frombuffer(reader.inflate(n_values), np.int8)
        by_channel = _cut(scales, tuple((n, shape[:1]) for n, shape in matrices))
        for name, whole in _cut(integers, matrices).items():
            scale = by_channel[name].reshape(-1, *[1] * (whole.ndim - 1))
            found[name] = whole * scale
    reader.finish()
    return {name: found[name] for name, _ in shapes}


@lru_cache(maxsize=64)
def fingerprint(shapes: Shapes) -> bytes:
    """Return 16 bytes that differ for models of other names or shapes."""
    return hashlib.sha256(repr(shapes).encode()).digest()[:FINGERPRINT_BYTES]


class _Reader:
    """Bytes that are read from front to back, never more than is announced."""

    def __init__(self, content: bytes, start: int) -> None:
        self.rest = memoryview(content)[start:]

    def take(self, n_bytes: int) -> memoryview:
        """Return the next bytes."""
        taken, self.rest = self.rest[:n_bytes], self.rest[n_bytes:]
        if len(taken) < n_bytes:
            raise ValueError("it ends too early")
        return taken

    def inflate(self, n_bytes: int) -> bytes:
        """Return so many bytes from a compressed part."""
        (length,) = np.frombuffer(self.take(8), "<u8")
        inflater = zlib.decompressobj()
        try:
            content = inflater.decompress(self.take(int(length)), n_bytes)
            # The end of the stream may only show when more is asked for.
            more = inflater.decompress(inflater.unconsumed_tail, 1)
        except zlib.error as error:
            raise ValueError(f"it cannot be decompressed: {error}") from error
        if len(content) != n_bytes or more or not inflater.eof:
            raise ValueError("a compressed part has another length than the model")
        return content

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.rest:
            raise ValueError(f"{len(self.rest)} bytes too many")


def _deflated(content: bytes) -> bytes:
    packed = zlib.compress(content, DEFLATE_LEVEL)
    return len(packed).to_bytes(8, "little") + packed


def _split(
    arrays: Mapping[str, NDArray[Any]], encoding: Encoding
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Return the arrays that become int8, and those that become bf16."""
    floats = [_float32(array) for array in arrays.values()]
    matrices = [a for a in floats if encoding == "int8" and a.ndim > 1]
    others = [a for a in floats if not (encoding == "int8" and a.ndim > 1)]
    return matrices, others


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(array, "<f4", order="C")


def _to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the upper halves, rounded to nearest, ties to even; NaN stays NaN."""
    bits = values.view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    rounded[np.isnan(values)] = 0x7FC0
    return rounded.astype("<u2")


def _scales(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each output channel's step; 0 where it is all zero."""
    most = np.abs(matrix).reshape(len(matrix), -1).max(axis=1, initial=0)
    if not np.isfinite(most).all():
        raise ValueError("int8 cannot hold a number that is not finite")
    return np.asarray(most / np.float32(INT8_MOST), np.float32)


def _to_int8(
    matrix: NDArray[np.float32], scales: NDArray[np.float32]
) -> NDArray[np.int8]:
    by_channel = np.where(scales > 0, scales, 1).reshape(-1, *[1] * (matrix.ndim - 1))
    steps = np.rint(matrix / by_channel)
    return steps.clip(-INT8_MOST, INT8_MOST).astype(np.int8)


def _cut(values: NDArray[Any], shapes: Shapes) -> Arrays:
    """Return consecutive parts of a vector, in these shapes."""
    arrays, start = {}, 0
    for name, shape in shapes:
        n = prod(shape)
        arrays[name] = values[start : start + n].reshape(shape)
        start += n
    return arrays
