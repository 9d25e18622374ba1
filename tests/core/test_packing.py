"""A packed model comes back as what its encoding promises, or is refused."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from thyroid_fl.packing import FINGERPRINT_BYTES, pack, shapes_of, unpack

ENCODINGS = ("fp32", "bf16", "int8")
FLOATS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=4, max_side=5),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)
MODELS = st.dictionaries(st.text(max_size=8), FLOATS, min_size=1, max_size=5)


def there_and_back(arrays, encoding):
    return unpack(pack(arrays, encoding), encoding, shapes_of(arrays))


@settings(max_examples=60, deadline=None)
@given(arrays=MODELS)
def test_fp32_is_exact(arrays):
    found = there_and_back(arrays, "fp32")

    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape


@settings(max_examples=60, deadline=None)
@given(arrays=MODELS)
def test_bf16_keeps_eight_significant_bits(arrays):
    found = there_and_back(arrays, "bf16")

    assert list(found) == list(arrays)
    for name, array in arrays.items():
        # Below the normal numbers the steps are 2^-133.
        np.testing.assert_allclose(found[name], array, rtol=2**-8, atol=2**-133)
        np.testing.assert_array_equal(
            there_and_back({name: found[name]}, "bf16")[name], found[name]
        )


@settings(max_examples=60, deadline=None)
@given(arrays=MODELS)
def test_int8_is_within_half_a_step_of_each_channel(arrays):
    found = there_and_back(arrays, "int8")

    assert list(found) == list(arrays)
    for name, array in arrays.items():
        if array.ndim < 2:
            np.testing.assert_allclose(found[name], array, rtol=2**-8, atol=2**-133)
            continue
        rows = array.reshape(len(array), -1).astype(np.float64)
        step = np.abs(rows).max(axis=1, keepdims=True) / 127
        error = np.abs(found[name].reshape(rows.shape) - rows)
        assert (error <= 0.5001 * step + 1e-38).all()


def test_bf16_rounds_as_torch_does():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(1).normal(size=5000).astype("f4")
    ties = (np.arange(64, dtype=np.uint32) << 15 | 0x3F800000).view("f4")
    odd = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 3.4e38, 1e-40], "f4")

    for array in (values, ties, odd):
        expected = torch.from_numpy(array).to(torch.bfloat16).float().numpy()
        found = there_and_back({"w": array}, "bf16")["w"]

        np.testing.assert_array_equal(found, expected)


def test_the_sizes_are_those_of_the_docs():
    rng = np.random.default_rng(2)
    weights = {f"{k}.weight": rng.normal(size=(64, 32, 3, 3)) * 0.05 for k in range(9)}
    n_bytes = 4 * sum(array.size for array in weights.values())

    sizes = {name: len(pack(weights, name)) / n_bytes for name in ENCODINGS}

    assert sizes["fp32"] == pytest.approx(1, abs=1e-4)
    assert 0.3 < sizes["bf16"] < 0.4
    assert 0.2 < sizes["int8"] < 0.26


def test_int8_refuses_what_it_cannot_hold():
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            pack({"w": np.array([[1, value]], "f4")}, "int8")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_another_model_is_refused(encoding):
    arrays = {"w": np.ones((2, 3), "f4"), "b": np.ones(2, "f4")}
    content = pack(arrays, encoding)

    for others in (
        {"w": arrays["w"]},
        {"v": arrays["w"], "b": arrays["b"]},
        {"b": arrays["b"], "w": arrays["w"]},
        {"w": np.ones((3, 2), "f4"), "b": arrays["b"]},
    ):
        with pytest.raises(ValueError, match="another model"):
            unpack(content, encoding, shapes_of(others))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_damage_raises_nothing_but_value_errors(encoding):
    rng = np.random.default_rng(3)
    arrays = {"w": rng.normal(size=(6, 5)), "b": rng.normal(size=7)}
    content = pack(arrays, encoding)
    n_refused = 0

    for k in range(300):
        damaged = bytearray(content)
        if k % 3 == 0:
            damaged = damaged[: rng.integers(len(damaged))]
        elif k % 3 == 1:
            damaged += rng.bytes(rng.integers(1, 9))
        else:
            damaged[rng.integers(FINGERPRINT_BYTES, len(damaged))] ^= 0xFF
        try:
            found = unpack(bytes(damaged), encoding, shapes_of(arrays))
        except ValueError:
            n_refused += 1
        else:
            assert shapes_of(found) == shapes_of(arrays)

    assert n_refused >= 200


def test_a_part_that_inflates_to_more_than_the_model_is_refused():
    arrays = {"w": np.zeros(1000, "f4")}
    bomb = zlib.compress(bytes(10**8))
    content = pack(arrays, "bf16")[:FINGERPRINT_BYTES]
    content += len(bomb).to_bytes(8, "little") + bomb + bytes(1000)

    with pytest.raises(ValueError, match="another length"):
        unpack(content, "bf16", shapes_of(arrays))
