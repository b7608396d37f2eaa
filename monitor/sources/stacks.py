"""Files with several frames: which of them are new where frames were appended to a file that is known."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.errors import UnreadableFrame
from monitor.frames import pixels_hash
from monitor.read import FrameFile


@dataclass
class Stack:
    """What to remember of a file with several frames, to see whether frames were only appended."""

    count: int
    first: str | None
    last: str | None


def stack_of(known: Stack | None, frames: FrameFile) -> tuple[int, list[str | None], Stack]:
    """The first new frame of a file, the hash of every frame from there on, and what to remember of the file."""
    start = 0
    if (
        known is not None
        and frames.count > known.count  # one of the same length was written again, wherever
        and known.first is not None
        and known.last is not None
        and _pixels(frames, 0) == known.first
        and _pixels(frames, known.count - 1) == known.last
    ):
        start = known.count
    contents = [_pixels(frames, index) for index in range(start, frames.count)]
    first = known.first if start and known is not None else contents[0]
    last = contents[-1] if contents or known is None else known.last
    return start, contents, Stack(frames.count, first, last)


def _pixels(frames: FrameFile, index: int) -> str | None:
    """Hash of one frame of a stack, None where it can't be read (its worker will say why)."""
    try:
        return pixels_hash(frames.frame(index).pixels)
    except UnreadableFrame:
        return None
