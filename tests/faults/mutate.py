"""Damage done to bytes: flipped bits, cuts, numbers that lie, blocks moved. Every choice comes from one generator."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

Damage = Callable[[bytes, Random], bytes]

#: What a lying integer says, in as many bytes as it has.
_LIES = (0, 1, 2, 3, 5, 7, 16, 127, 128, 255, 2**15 - 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
         2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
#: What a lying number in a text says.
_TEXT_LIES = (b"0", b"-1", b"1e999", b"1e-999", b"NaN", b"-Infinity", b"99999999999999999999", b"9" * 5000,
               b"2147483648", b"4294967295", b"16000", b"0.5", b"1e5", b"", b"true", b"null",
               b"\xff", b"[]")  # fmt: skip


def place(raw: bytes, random: Random) -> int:
    """A place in the bytes: at the head, where headers are, at the tail, or anywhere."""
    if not raw:
        return 0
    match random.randrange(4):
        case 0:
            return random.randrange(min(len(raw), 64))
        case 1:
            return random.randrange(min(len(raw), 1200))
        case 2:
            return len(raw) - 1 - random.randrange(min(len(raw), 600))
    return random.randrange(len(raw))


def cut(raw: bytes, random: Random) -> bytes:
    """Ends too soon: within the head, at a round number of bytes, a few bytes before its end, anywhere."""
    match random.randrange(4):
        case 0:
            return raw[: random.randrange(min(len(raw), 64) + 1)]
        case 1:
            return raw[: random.randrange(len(raw) // 512 + 1) * 512]
        case 2:
            return raw[: max(0, len(raw) - 1 - random.randrange(64))]
    return raw[: random.randrange(len(raw) + 1)]


def flip(raw: bytes, random: Random) -> bytes:
    """One to 32 bits are the other way round."""
    damaged = bytearray(raw)
    for _ in range(random.choice((1, 1, 2, 4, 32)) if raw else 0):
        damaged[place(raw, random)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def lie(raw: bytes, random: Random) -> bytes:
    """One to three integers of 1 to 8 bytes say something else, in either byte order."""
    damaged = bytearray(raw)
    for _ in range(random.choice((1, 1, 2, 3)) if raw else 0):
        width = random.choice((1, 2, 4, 4, 8))
        at = place(raw, random) // random.choice((1, width)) * 1
        before = int.from_bytes(damaged[at : at + width], order := random.choice(("little", "big")))
        told = random.choice(
            (*_LIES, before + 1, before - 1, 2 * before, before << 8, random.getrandbits(64))
        )
        value = (told % 2 ** (8 * width)).to_bytes(width, order)
        damaged[at : at + width] = value[: len(damaged) - at]
    return bytes(damaged)


def lie_in_text(raw: bytes, random: Random) -> bytes:
    """A number that is written in digits says something else."""
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", raw[:200_000]))
    if not numbers:
        return lie(raw, random)
    found = random.choice(numbers)
    return raw[: found.start()] + random.choice(_TEXT_LIES) + raw[found.end() :]


def move(raw: bytes, random: Random) -> bytes:
    """A block is zeroed, set, taken out, doubled, filled with noise, or changes place with another."""
    start, length = place(raw, random), random.choice((1, 4, 16, 100, 512, 4096))
    block, rest = raw[start : start + length], raw[start + length :]
    match random.randrange(7):
        case 0:
            block = bytes(len(block))
        case 1:
            block = b"\xff" * len(block)
        case 2:
            block = b""
        case 3:
            block *= random.choice((2, 2, 100))
        case 4:
            block = random.randbytes(len(block))
        case 5:
            block = random.randbytes(length) + block
        case 6:
            other = place(raw, random)
            block = raw[other : other + length]
    return raw[:start] + block + rest


def noise(raw: bytes, random: Random) -> bytes:
    """Nothing of it is left, or only its beginning."""
    kept = raw[: random.choice((0, 0, 4, 16, 64, 512))]
    return kept + random.randbytes(random.choice((0, 1, 40, 500, 5000)))


DAMAGES: dict[str, Damage] = {
    "cut": cut,
    "flip": flip,
    "lie": lie,
    "lie in text": lie_in_text,
    "move": move,
    "noise": noise,
}


def damaged(raw: bytes, random: Random) -> tuple[bytes, str]:
    """The bytes with one damage, seldom with several; and its name."""
    names = random.choices(list(DAMAGES), weights=(5, 4, 6, 2, 3, 0.4), k=random.choice((1, 1, 1, 2, 4)))
    for name in names:
        raw = DAMAGES[name](raw, random)
    return raw, " + ".join(names)
