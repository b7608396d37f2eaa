"""The decoders under fire, each with whole conversations as its senders have them."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from monitor.client import DTYPES, encode
from monitor.sources.dectris import DectrisDecoder
from monitor.sources.wire import decode

Parts = list[bytes]
Decode = Callable[[list[bytes | memoryview]], object]

#: No frame of these conversations has nearly as many bytes.
_LARGEST = 2**26


@dataclass(frozen=True)
class Target:
    """A decoder under fire."""

    conversation: Callable[[Random], list[Parts]]
    """The messages of one conversation, all in order."""
    decoder: Callable[[], Decode]
    """Makes what takes the messages of one conversation, one by one: it returns a frame, or None for what is none by
    itself, or raises `BadMessage`."""
    json_parts: bool = True
    """Some parts of a message are JSON, which can be made to lie field by field."""


def array_message(random: Random, number: int | None = None) -> Parts:
    """A whole array-1.0 message of a small frame, its number hardly ever the same."""
    dtype = random.choice(DTYPES)
    low, high = random.choice(((1, 40), (1, 40), (64, 80)))  # too small to analyse, and just large enough
    shape = (random.randrange(low, high), random.randrange(low, high))
    image = np.frombuffer(random.randbytes(shape[0] * shape[1]), np.uint8).reshape(shape).astype(dtype)
    header, pixels = encode(
        image,
        random.getrandbits(40) if number is None else number,
        source=random.choice(("cam", "TEAM I", "像", "")),
        run=random.choice((None, "a")),
        timestamp=random.choice((None, 1.7e9)),
        pixel_size_nm=random.choice((None, 0.05)),
        exposure_s=0.1,
        lens={"on": [1, 2, {"deep": None}]},
    )
    return [header, bytes(pixels)]


def _dectris_v1(random: Random) -> list[Parts]:
    dtype, bits = random.choice((("u1", 8), ("u2", 16), ("u4", 32)))
    return _dectris_v1_series(dtype, random.choice(("<", "lz4<", f"bs{bits}-lz4<")))


@functools.cache  # packing is slow
def _dectris_v1_series(dtype: str, encoding: str) -> list[Parts]:
    from tests.monitor.sources.dectris.conftest import V1

    images = np.random.default_rng(0).poisson(60, (2, 24, 20)).astype(dtype)
    messages = [V1.image(5, i, image, encoding) for i, image in enumerate(images)]
    return [[bytes(part) for part in parts] for parts in (V1.start(5), *messages, V1.end(5))]


def _dectris_v2(random: Random) -> list[Parts]:
    from tests.monitor.sources.dectris.conftest import _RECORDED

    kept = [name for name in _RECORDED if name in ("start", "end") or random.randrange(2)]
    return [[base64.b64decode(_RECORDED[name])] for name in kept]


TARGETS: dict[str, Target] = {
    "array-1.0": Target(lambda random: [array_message(random)], lambda: decode),
    "dectris-v1": Target(_dectris_v1, lambda: DectrisDecoder(_LARGEST).decode),
    "dectris-v2": Target(_dectris_v2, lambda: DectrisDecoder(_LARGEST).decode, json_parts=False),
}
