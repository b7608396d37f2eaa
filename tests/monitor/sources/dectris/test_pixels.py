"""Packed pixels: what the reference implementation packed comes back, and lies are refused before memory is taken."""

from __future__ import annotations

import base64
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monitor.errors import BadMessage
from monitor.sources.dectris.pixels import picture

Pack = Callable[..., bytes]

LIMIT = 2**26

#: `expected(0)` as the HDF5 filter 32008 (hdf5plugin, bitshuffle with LZ4) writes it.
REFERENCE = base64.b64decode(
    "AAAAAAAAA8AAACAAAAAA/PQHqlKVqlSlKlWpSqpVrWpVq1rVqlZKVRYAJFa1FgAkVakWACTVqhYAo8xkJjOZyUxmMpMHANOZzGRsZjOb2cxmNrOZ"
    "BwAyzWxmGgAALAADBwDyEkxmMvCABzzgAQ94wAPDHva4hz3sYQ97b3jDG97whje84RoA9Cce8IAHhz/84Q9/+MMf/p7whCc84QlPeMIABzjAAQ5wg"
    "AMc/OAHP/jBD37wg49//OMf//jHP/4wACTwh2IANR7w4DMAGAABABIIDQDEEIAABCAAAQhAAAMemAAAcgAS8H0Akv/73//+97///S4AAwIAAzwADw"
    "IAIg88AP//NVAAAAAAAA=="
)


def test_what_the_reference_packed_comes_back(expected: Callable[..., npt.NDArray[Any]]) -> None:
    image = picture(REFERENCE, "bslz4", [24, 20], np.dtype("<u2"), max_bytes=LIMIT)
    np.testing.assert_array_equal(image, expected(0))


@given(
    image=st.sampled_from(["u1", "<u2", ">u2", "<u4", ">i4", "<f4", "<u8"]).flatmap(
        lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))
    ),
    algorithm=st.sampled_from(["raw", "lz4-block", "lz4", "bslz4"]),
    block=st.sampled_from([512, 1024, 8192, 2**20]),
)
def test_what_is_packed_comes_back(
    image: npt.NDArray[Any], algorithm: Any, block: int, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue("pack")(image, algorithm, block=block)
    found = picture(data, algorithm, list(image.shape), image.dtype, max_bytes=LIMIT)
    assert found.dtype == image.dtype.newbyteorder("=")
    assert found.tobytes() == image.astype(found.dtype).tobytes()


def test_many_blocks_and_a_rest(pack: Pack) -> None:
    image = np.random.default_rng(0).poisson(7, (301, 203)).astype("<u4")
    for algorithm in ("lz4", "bslz4"):
        found = picture(pack(image, algorithm), algorithm, image.shape, image.dtype, max_bytes=LIMIT)
        np.testing.assert_array_equal(found, image)


def test_a_framing_without_sizes_means_the_usual_blocks(pack: Pack) -> None:
    image = np.random.default_rng(0).poisson(7, (301, 203)).astype("<u2")
    data = bytes(12) + pack(image, "bslz4")[12:]
    np.testing.assert_array_equal(picture(data, "bslz4", image.shape, image.dtype, max_bytes=LIMIT), image)


@pytest.mark.parametrize("algorithm", ["raw", "lz4-block", "lz4", "bslz4"])
def test_data_that_are_cut_off_anywhere_are_refused(pack: Pack, algorithm: Any) -> None:
    image = np.random.default_rng(0).poisson(7, (33, 31)).astype("<u2")
    data = pack(image, algorithm, block=512)
    for end in range(0, len(data), 7):
        with pytest.raises(BadMessage, match="bytes"):
            picture(data[:end], algorithm, image.shape, image.dtype, max_bytes=LIMIT)


@pytest.mark.parametrize("algorithm", ["raw", "lz4-block", "lz4", "bslz4"])
def test_another_shape_is_refused(pack: Pack, algorithm: Any) -> None:
    data = pack(np.ones((16, 16), "<u2"), algorithm)
    for shape in ((16, 15), (16, 17), (160, 160)):
        with pytest.raises(
            BadMessage, match=f"{shape[0]} × {shape[1]} uint16 makes {2 * shape[0] * shape[1]}|LZ4"
        ):
            picture(data, algorithm, shape, np.dtype("<u2"), max_bytes=LIMIT)


@pytest.mark.parametrize(
    "shape",
    [None, 5, "4×4", [], [4], [1, 4, 4], [0, 4], [-4, -4], [4.0, 4], [True, 4], [2**40, 1], [None, 4]],
)
def test_a_shape_that_is_none_is_refused(shape: Any) -> None:
    with pytest.raises(BadMessage, match="a shape of"):
        picture(bytes(16), "raw", shape, np.dtype("u1"), max_bytes=LIMIT)


def test_other_types_and_larger_frames_are_refused() -> None:
    with pytest.raises(BadMessage, match="complex64"):
        picture(bytes(8), "raw", [1, 1], np.dtype("c8"), max_bytes=LIMIT)
    with pytest.raises(BadMessage, match="524288 bytes, more than the limit of 1000"):
        picture(bytes(8), "raw", [512, 512], np.dtype("u2"), max_bytes=1000)


@pytest.mark.parametrize("algorithm", ["lz4-block", "lz4", "bslz4"])
def test_a_small_message_can_not_take_much_memory(algorithm: Any) -> None:
    side, data = 8192, struct.pack(">QI", 8192 * 8192 * 4, 8192) + bytes(500)
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage, match="512 bytes of"):
            picture(data, algorithm, [side, side], np.dtype("<u4"), max_bytes=2**29)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("block", [0, 1, 8, 100, 2**32 - 1])
def test_blocks_of_an_absurd_size_are_refused(pack: Pack, block: int) -> None:
    data = bytearray(pack(np.arange(4096, dtype="<u2").reshape(64, 64), "bslz4"))
    data[8:12] = struct.pack(">I", block)
    if block == 2**32 - 1:  # more than there is: one block
        assert picture(bytes(data), "bslz4", [64, 64], np.dtype("<u2"), max_bytes=LIMIT).shape == (64, 64)
    else:
        with pytest.raises(BadMessage, match="blocks of"):
            picture(bytes(data), "bslz4", [64, 64], np.dtype("<u2"), max_bytes=LIMIT)
