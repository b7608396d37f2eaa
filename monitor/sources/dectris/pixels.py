"""Pixels as DECTRIS detectors send them: raw, LZ4, or bits shuffled and LZ4.

The framing of compressed data is that of the HDF5 filters: 8 bytes with the size of everything and 4 with that of
a block, both decompressed and big-endian; then each block, its compressed size before it in 4 bytes. See
https://github.com/dectris/documentation/blob/main/cbor/dectris-compression-tag.md,
https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md (32004 and 32008).
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import imagecodecs
import numpy as np
import numpy.typing as npt

from monitor.client import DTYPES
from monitor.errors import BadMessage
from monitor.sources.wire import MAX_SIDE, Part

#: `lz4-block` is one LZ4 block without any framing, as Stream V1 has it; the others are framed.
Algorithm = Literal["raw", "lz4-block", "lz4", "bslz4"]

#: Its types know no memoryview, which it takes.
_lz4_decode: Any = imagecodecs.lz4_decode

_FRAMING = struct.Struct(">QI")
_BLOCK = struct.Struct(">I")

#: LZ4 makes at most so many bytes out of one.
_LARGEST_RATIO = 255

#: Blocks of fewer bytes would only make it slow.
_SMALLEST_BLOCK = 128
_USUAL_BLOCK = 8192


def picture(
    data: Part, algorithm: Algorithm, shape: Any, dtype: np.dtype[Any], *, max_bytes: int
) -> npt.NDArray[Any]:
    """The pixels (H, W) in the machine's byte order; nothing is allocated before the sizes are found plausible.

    Parameters
    ----------
    shape
        [H, W] as it was announced, whatever that is.
    dtype
        Of a pixel, with its byte order.

    Raises
    ------
    BadMessage
        The data can't be this picture; the reason is a sentence with the numbers.
    """
    if not (
        isinstance(shape, list | tuple)
        and len(shape) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) for side in shape)
        and all(1 <= side <= MAX_SIDE for side in shape)
    ):
        raise BadMessage(f"a shape of {repr(shape)[:80]} instead of two sides, 1 to {MAX_SIDE} each")
    if dtype.name not in DTYPES:
        raise BadMessage(f"pixels of type {dtype.name}; there are {', '.join(DTYPES)}")
    height, width = shape
    nbytes = height * width * dtype.itemsize
    if nbytes > max_bytes:
        raise BadMessage(
            f"{height} × {width} {dtype.name} is {nbytes} bytes, more than the limit of {max_bytes}"
        )
    data = memoryview(data)
    try:
        raw = _decompressed(data, algorithm, dtype.itemsize, nbytes)
    except (RuntimeError, struct.error) as error:
        raise BadMessage(f"{len(data)} bytes of {algorithm} data are damaged or cut off ({error})") from error
    except _WrongSizeError as error:
        raise BadMessage(f"{error} where {height} × {width} {dtype.name} makes {nbytes}") from error
    return raw.view(dtype).reshape(height, width).astype(dtype.newbyteorder("="), copy=False)


class _WrongSizeError(ValueError):
    """There are more or fewer bytes than the picture has."""


def _decompressed(data: memoryview, algorithm: Algorithm, item: int, nbytes: int) -> npt.NDArray[np.uint8]:
    """The bytes of a picture that has so many.

    Raises
    ------
    _WrongSizeError
        It is another number of bytes.
    RuntimeError, struct.error
        The data are damaged or cut off.
    """
    if algorithm == "raw":
        if len(data) != nbytes:
            raise _WrongSizeError(f"{len(data)} bytes came")
        return np.frombuffer(data, np.uint8)
    if nbytes > _LARGEST_RATIO * len(data):
        raise _WrongSizeError(f"{len(data)} bytes of {algorithm} data came")
    if algorithm == "lz4-block":
        out = np.empty(nbytes, np.uint8)
        made = len(_lz4_decode(data, out=out))
        if made != nbytes:
            raise _WrongSizeError(f"{made} bytes came out of {algorithm} data")
        return out
    return _framed(data, nbytes, item if algorithm == "bslz4" else None)


def _framed(data: memoryview, nbytes: int, shuffled: int | None) -> npt.NDArray[np.uint8]:
    """The bytes in framed LZ4 blocks; `shuffled`: the bits of items of so many bytes were shuffled in each."""
    total, block = _FRAMING.unpack_from(data)
    if total == block == 0:  # LiberTEM-live's simulator leaves the sizes out
        total, block = nbytes, _USUAL_BLOCK
    if total != nbytes:
        raise _WrongSizeError(f"compressed data that make {total} bytes came")
    unit = 8 * shuffled if shuffled else 1
    in_blocks = nbytes - nbytes % unit
    block = min(block, in_blocks)
    if block % unit or block < min(in_blocks, _SMALLEST_BLOCK):
        raise RuntimeError(f"blocks of {block} bytes")
    out = np.empty(nbytes, np.uint8)
    at, place = _FRAMING.size, 0
    while place < in_blocks:
        size = min(block, in_blocks - place)
        (length,) = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        if length > len(data) - at:
            raise RuntimeError(f"a block of {length} bytes with {len(data) - at} left")
        packed, target = data[at : at + length], out[place : place + size]
        if shuffled is None and length == size:  # a block that LZ4 could not make smaller is left as it is
            target[:] = np.frombuffer(packed, np.uint8)
        elif len(_lz4_decode(packed, out=target)) != size:
            raise RuntimeError(f"a block makes less than {size} bytes")
        at += length
        place += size
    if shuffled is None or not in_blocks:
        return out
    rest = nbytes - in_blocks  # what fills no eight items is appended as it is
    if rest > len(data) - at:
        raise RuntimeError(f"{len(data) - at} bytes at the end instead of {rest}")
    out[in_blocks:] = np.frombuffer(data[at : at + rest], np.uint8)
    items = out.view(f"u{shuffled}")
    unshuffled = imagecodecs.bitshuffle_decode(
        items, itemsize=shuffled, blocksize=block // shuffled, out=np.empty_like(items)
    )
    return np.asarray(unshuffled).view(np.uint8)
