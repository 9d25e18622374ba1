"""Flower's records and numpy arrays: the way in and out without copies."""

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.common.constant import SType
from numpy.typing import NDArray

from thyroid_fl.packing import Arrays, Encoding, Shapes, pack, unpack

PACKED = "thyroid-fl packed model"
"""Serialisation type of the one array that holds a whole model."""


def record_of(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Return copies of the arrays as Flower sends them.

    The bytes are those of ``Array(a)``, which writes numpy's file header anew for each
    array: in a model of 700 arrays, half of what a message costs.
    """
    return ArrayRecord({name: _array(np.asarray(a)) for name, a in arrays.items()})


def arrays_of_record(record: ArrayRecord) -> Arrays:
    """Return read-only views of a record's arrays, by name, in the record's order."""
    return {name: read_array(array) for name, array in record.items()}


def packed_record(
    arrays: Mapping[str, NDArray[Any]], encoding: Encoding
) -> ArrayRecord:
    """Return a whole model as one array, see `thyroid_fl.packing`."""
    content = pack(arrays, encoding)
    whole = Array(dtype=encoding, shape=(len(content),), stype=PACKED, data=content)
    return ArrayRecord({"model": whole})


def unpacked(record: ArrayRecord, encoding: Encoding, shapes: Shapes) -> Arrays:
    """Return the arrays of `packed_record`.

    Raises:
        ValueError: it is of another model or encoding, or damaged.
    """
    if record.keys() != {"model"} or record["model"].stype != PACKED:
        raise ValueError("it holds no packed model")
    whole = record["model"]
    if whole.dtype != encoding:
        raise ValueError(f"it is packed as {whole.dtype!r}; expected {encoding}")
    return unpack(whole.data, encoding, shapes)


def read_array(array: Array) -> NDArray[Any]:
    """Return a read-only view of the array that a Flower message holds.

    `Array.numpy` copies, and parses numpy's file header each time: 21 us for an array
    however small, which at 160 arrays is most of what a message costs. This takes 3.

    Raises:
        ValueError: the bytes are not what their header says.
        TypeError: the array was not made from a numpy array.
    """
    if array.stype != "numpy.ndarray":
        raise TypeError(f"serialisation {array.stype!r} is not numpy's")
    data = array.data
    if data[:8] != b"\x93NUMPY\x01\x00":  # a header over 64 KiB, or not numpy's at all
        return np.asarray(array.numpy())
    start = 10 + int.from_bytes(data[8:10], "little")
    shape, is_fortran, dtype = _read_header(data[8:start])
    flat = np.frombuffer(data, dtype, count=prod(shape), offset=start)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def l2_norm(arrays: Mapping[str, NDArray[Any]]) -> float:
    """Return the norm of all floating-point arrays together; NaN or inf if one is."""
    floats = (a.ravel() for a in arrays.values() if np.issubdtype(a.dtype, np.inexact))
    return float(np.sqrt(sum(float(np.vdot(flat, flat).real) for flat in floats)))


def _array(array: NDArray[Any]) -> Array:
    header = _written_header(array.dtype, array.shape)
    return Array(
        dtype=str(array.dtype),
        shape=array.shape,
        stype=SType.NUMPY,
        data=b"".join((header, np.ascontiguousarray(array).data)),
    )


@lru_cache(maxsize=4096)
def _written_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return numpy's file header of a row-major array."""
    file = BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


@lru_cache(maxsize=4096)
def _read_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether column-major, and dtype; every reply repeats the same."""
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(BytesIO(header))
    return shape, is_fortran, dtype
