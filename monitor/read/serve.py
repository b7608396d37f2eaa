"""The process apart: `python -m monitor.read.serve` answers the requests of `apart` until there are no more.

A request is a line of JSON on standard input. An answer on standard output is `HEAD`, JSON, and the bytes of the
pixels.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import struct
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.jsonable import jsonable
from monitor.read.signals import Signal

#: Address space of the process [bytes]: more than the largest frame needs, less than a damaged length of 32 bits
#: can ask for.
_MEMORY = 7 * 2**29
#: Before each answer: its length and the length of the pixels that follow it [bytes].
HEAD = struct.Struct("<QQ")


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    files: dict[int, tuple[contextlib.ExitStack, list[Signal]]] = {}
    for line in requests:
        request = json.loads(line)
        _limit_processor(request["limit_s"])
        pixels = b""
        try:
            answer, pixels = _answer(files, request)
        except UnreadableFrame as error:
            answer = {"refused": error.reason, "incomplete": isinstance(error, IncompleteFile)}
        except MemoryError:
            reason = "there is not enough memory for what it announces"
            answer = {"refused": reason, "incomplete": False}
        except Exception as error:
            said = " ".join(str(error).split())[:160] or type(error).__name__
            reason = f"the file is damaged, or of a variant that is not known here ({said})"
            answer = {"refused": reason, "incomplete": False}
        head = json.dumps(answer).encode()
        answers.write(HEAD.pack(len(head), len(pixels)) + head)
        answers.write(pixels)
        answers.flush()


def _answer(
    files: dict[int, tuple[contextlib.ExitStack, list[Signal]]], request: dict[str, Any]
) -> tuple[dict[str, Any], Any]:
    if request["do"] == "open":
        stack = contextlib.ExitStack()
        try:
            reader = importlib.import_module(request["reader"])
            signals: list[Signal] = reader.open_signals(Path(request["path"]), stack)
            told = [
                {
                    "count": one.count,
                    "shape": [int(side) for side in one.shape],
                    "dtype": one.dtype.str,
                    "rows": asdict(one.rows),
                    "columns": asdict(one.columns),
                    "title": one.title,
                    "refusal": one.refusal,
                    "scale_doubt": one.scale_doubt,
                    "notes": list(one.notes),
                    "series": one.series,
                }
                for one in signals
            ]
        except BaseException:
            stack.close()
            raise
        number = max(files, default=0) + 1
        files[number] = stack, signals
        return {"file": number, "signals": told}, b""
    if request["do"] == "close":
        files.pop(request["file"])[0].close()
        return {}, b""
    one = files[request["file"]][1][request["signal"]]
    if request["do"] == "details":
        details = one.details(request["index"])
        plain = replace(details, metadata=jsonable(details.metadata))
        return {"details": asdict(plain)}, b""
    pixels = np.ascontiguousarray(one.load(request["index"]))
    return {"dtype": pixels.dtype.str, "shape": list(pixels.shape)}, pixels.view(np.uint8).data.cast("B")


def _limit_memory() -> None:
    """Limit this process to `_MEMORY`, where the operating system can."""
    try:
        import resource
    except ImportError:  # Windows: only the time of this process is limited
        return
    with contextlib.suppress(OSError, ValueError):  # a system that has the limit and refuses to set it
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _limit_processor(seconds: float) -> None:
    """Limit the processor time of this process.

    If the asking program is killed meanwhile, only the operating system can end this process.
    """
    try:
        import resource
    except ImportError:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = usage.ru_utime + usage.ru_stime
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(OSError, ValueError):  # a stricter limit stands already
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent + seconds) + 5, hard))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks
    _limit_memory()
    serve(sys.stdin.buffer, sys.stdout.buffer)
