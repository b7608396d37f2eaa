"""100,000 mutated messages through each decoder: each a frame, or refused with a reason; time and memory bounded."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from monitor.errors import BadMessage
from monitor.record.queries import to_json
from monitor.sources.wire import RejectedMessage
from tests.faults.base import Context, Finding
from tests.faults.mutate import damaged
from tests.faults.targets import TARGETS, Decode, Parts, Target

_SQLITE = sqlite3.connect(":memory:")

#: A message may take so long [s of the processor] ...
LIMIT_S = 5.0
#: ... and so much memory beyond itself [bytes]; the largest header that is read has 1 MiB.
LIMIT_BYTES = 64 * 2**20


@dataclass
class Outcome:
    """What became of the messages of one run."""

    messages: int = 0
    became: Counter[str] = field(default_factory=Counter)
    """frame, no frame, rejected, ignored, or a fault: crash, hang, memory, no sentence"""
    faults: list[str] = field(default_factory=list)
    """What went wrong, each with the seed that brings it back; empty: nothing."""
    slowest_s: float = 0.0
    peak_bytes: int = 0
    """Of memory, beyond the message itself."""
    seconds: float = 0.0


def faults(context: Context) -> Iterator[Finding]:
    """As many messages as are asked for, through each decoder."""
    for name, target in TARGETS.items():
        outcome = fuzz(target, context.messages, context.seed)
        yield Finding(
            f"mutated messages, {name}",
            tries=outcome.messages,
            failures=outcome.faults,
            note=f"{_counts(outcome.became)}; slowest {outcome.slowest_s:.2f} s, largest "
            f"{outcome.peak_bytes / 2**20:.1f} MiB, {outcome.seconds:.0f} s in all",
            figures=dict(outcome.became),
        )


def _counts(became: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in became.most_common())


# -- what is done to it ----------------------------------------------------------------------------------

#: Values that no field expects.
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**16, 2**31, 2**32, 2**61, 2**62 - 1, 2**63, 2**64, 10**30, -(2**63), 0.5, 1e308,
    -0.0, "", "7", "uint16", "\ud800", "\0", "x" * 10_000, "<u2", "O", "complex128", "uint16, evil", [], [[]], {},
    {"a": {}}, [3], [3, 4, 5], [0, 0], [1, 2**62], [-3, -4], [3.0, 4.0], ["3", "4"], [True, True], [2**16, 2**16],
    [10**30, 1], [1] * 5000, {"sec": 1, "ns": "x"}, {"pixel_size_nm": "wide"}, {"pixel_size_nm": [1]}, "9" * 5000,
    "array-1.0", ["array-1.0"], "dimage-1.0", "lz4", "big", "LITTLE", "1e5",
)  # fmt: skip
_FIELDS = ("htype", "shape", "type", "frame", "endianness", "endianess", "encoding", "source", "run", "timestamp",
           "ndattr", "lens", "pixel_size_nm", "series", "size", "hash", "header_detail")  # fmt: skip


def lying_header(parts: Parts, random: Random) -> Parts:
    """Fields of a JSON header say something else, are left out, or are there twice."""
    headers = [i for i, part in enumerate(parts) if part[:1] == b"{"]
    which = random.choice(headers) if headers else 0
    try:
        header = json.loads(parts[which])
    except (ValueError, IndexError, RecursionError):
        return parts
    if not isinstance(header, dict):
        return parts
    names = list({*header, *_FIELDS})
    for _ in range(random.choice((1, 1, 2, 5))):
        name, odd = random.choice(sorted(names)), random.choice(_ODD)
        if random.randrange(6) == 0:
            header.pop(name, None)
        elif isinstance(header.get(name), dict) and header[name] and random.randrange(2):
            header[name] = {**header[name], random.choice(sorted(header[name])): odd}
        else:
            header[name] = odd
    text = json.dumps(header)
    if random.randrange(10) == 0:
        text = text[:-1] + ", " + text[1:]  # every field twice
    told = text.encode(random.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32", "utf-8-sig")))
    return [*parts[:which], told, *parts[which + 1 :]]


def swapped_parts(parts: Parts, random: Random) -> Parts:
    """Parts change places, are doubled, left out, empty, or many."""
    parts = list(parts)
    match random.randrange(7):
        case 0:
            random.shuffle(parts)
        case 1:
            parts *= 2
        case 2:
            parts = parts[1:]
        case 3:
            parts = parts[:-1]
        case 4:
            parts.insert(random.randrange(len(parts) + 1), b"")
        case 5:
            parts += [b"x"] * random.choice((1, 10, 1000))
        case 6:
            parts = [b"".join(parts)]
    return parts


def giant_header(parts: Parts, random: Random) -> Parts:
    """A header of up to 1.2 MB: blanks, a long list, a long text, very many fields, brackets without an end."""
    size = random.choice((10_000, 100_000, 1_000_000, 1_200_000))
    head = parts[0] if parts else b"{}"
    match random.randrange(7):
        case 0:
            head = head + b" " * size
        case 1:
            head = head[:-1] + b', "more": [' + b"0," * (size // 2) + b"0]}"
        case 2:
            head = head[:-1] + b', "more": "' + b"x" * size + b'"}'
        case 3:
            head = head[:-1] + b"".join(b', "%d": {}' % i for i in range(size // 12)) + b"}"
        case 4:
            head = random.choice((b"[", b'{"a":', b'{"htype":[')) * (size // 8)
        case 5:
            depth = random.choice((100, 500, random.randrange(900, 1010), 2000, size // 2))
            head = head[:-1] + b', "more": ' + b"[" * depth + b"]" * depth + b"}"
        case 6:
            head = head[:-1] + b', "more": ' + b"9" * size + b"}"
    return [head, *parts[1:]]


def deep_header(parts: Parts, random: Random) -> Parts:
    """Brackets within brackets, as deep as Python and SQLite just take, and a little more; half a character."""
    head, depth = parts[0] if parts else b"{}", random.choice((10, 63, 100, 500, random.randrange(900, 1010)))
    name = random.choice(("more", "shape", "source", "lens", "ndattr"))
    inner = b"[" * depth + random.choice((b"", b'"\\ud800"', b"0")) + b"]" * depth
    return [head[:-1] + b', "' + name.encode() + b'": ' + inner + b"}", *parts[1:]]


def damaged_bytes(parts: Parts, random: Random) -> Parts:
    """One part with flipped bits, cut off, lying, shuffled, or nothing but noise."""
    parts = list(parts) or [b""]
    which = 0 if random.randrange(4) else random.randrange(len(parts))
    parts[which] = damaged(parts[which], random)[0]
    return parts


MUTATIONS: dict[str, Callable[[Parts, Random], Parts]] = {
    "lying header": lying_header,
    "damaged bytes": damaged_bytes,
    "swapped parts": swapped_parts,
    "giant header": giant_header,
    "deep header": deep_header,
    "noise": lambda parts, random: [
        random.randbytes(random.randrange(200)) for _ in range(random.randrange(4))
    ],
}


def mutated(parts: Parts, random: Random, json_parts: bool = True) -> tuple[Parts, str]:
    """The message with one mutation, seldom with several; and its name."""
    weights = (8, 8, 2, 0.1, 0.2, 0.5) if json_parts else (0, 8, 2, 0.02, 0.1, 0.5)
    names = random.choices(list(MUTATIONS), weights=weights, k=random.choice((1, 1, 1, 2)))
    for name in names:
        parts = MUTATIONS[name](parts, random)
    return parts, " + ".join(names)


# -- what comes of it ------------------------------------------------------------------------------------


def fuzz(target: Target, count: int, seed: int) -> Outcome:
    """At least `count` mutated messages through a target's decoders, each measured by itself."""
    outcome = Outcome()
    began = time.monotonic()
    log = logging.getLogger("faultwatch")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)  # what the decoders note of each message is no news here
    tracemalloc.start()
    try:
        while outcome.messages < count:
            _conversation(target, Random(f"{seed} {outcome.messages}"), outcome)
    finally:
        tracemalloc.stop()
        log.setLevel(level)
    outcome.seconds = time.monotonic() - began
    return outcome


def _conversation(target: Target, random: Random, outcome: Outcome) -> None:
    take = target.decoder()
    messages = target.conversation(random)
    struck = {random.randrange(len(messages)) for _ in range(random.choice((1, 1, len(messages))))}
    number = outcome.messages
    for i, parts in enumerate(messages):
        name = "whole"
        if i in struck:
            outcome.messages += 1
            parts, name = mutated(parts, random, target.json_parts)
        became = _one(take, parts, outcome, f"message {number}, {name}")
        if i in struck:
            outcome.became[became] += 1


def _one(take: Decode, parts: Parts, outcome: Outcome, what: str) -> str:
    told: Any = None
    tracemalloc.reset_peak()
    # Of this process: however busy the machine is, a decoder waits for nothing.
    before, began = tracemalloc.get_traced_memory()[0], time.process_time()
    try:
        told = take(list[bytes | memoryview](parts))
        became = "no frame" if told is None else "frame"
    except RejectedMessage as error:
        told, became = error, _said(error.reason, "rejected")
    except BadMessage as error:
        became = _said(error.reason, "ignored")
    except Exception as error:
        became = f"crash: {type(error).__name__}: {str(error)[:200]}"
    took = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1] - before
    outcome.slowest_s, outcome.peak_bytes = max(outcome.slowest_s, took), max(outcome.peak_bytes, peak)
    if took > LIMIT_S:
        became = f"hang: {took:.1f} s"
    elif peak > LIMIT_BYTES + sum(map(len, parts)):
        became = f"memory: {peak / 2**20:.0f} MiB"
    elif told is not None and (wrong := _unkept(told)):
        became = f"crash: {wrong}"
    if became not in ("frame", "no frame", "rejected", "ignored"):
        outcome.faults.append(f"{what}: {became}")
        became = became.partition(":")[0]
    return became


def _unkept(told: Any) -> str | None:
    """Why what came with a message can't be recorded and read again, None: it can."""
    try:
        # As far down the stack as whoever reads it may be.
        json.loads("[" * 200 + json.dumps(told.original) + "]" * 200)
        told.sender.encode()
        text = to_json(told.original)
        if _SQLITE.execute("SELECT json_valid(?)", (text,)).fetchone() != (1,):
            return f"JSON that SQLite does not take: {text[:200]}"
    except (ValueError, TypeError, RecursionError) as error:
        return f"what came with it can't be kept: {type(error).__name__}: {str(error)[:100]}"
    return None


def _said(reason: str, became: str) -> str:
    """`became`, where the reason is a sentence that can be stored and shown."""
    try:
        reason.encode()
    except UnicodeEncodeError:
        return f"crash: a reason that can't be stored: {reason!r}"
    if not reason.strip() or "\n" in reason or len(reason) > 1000:
        return f"no sentence: {reason[:200]!r}"
    return became
