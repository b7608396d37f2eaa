"""MRC files in gzip (.mrc.gz): unpacked into a temporary file, as many bytes as their header announces."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
import zlib
from pathlib import Path

from monitor.errors import IncompleteFile, UnreadableFrame
from monitor.read.formats import mrc
from monitor.read.formats.about import About
from monitor.read.signals import Signal

_PIECE = 2**22
_HEADER = 1024
#: A larger file is to be unpacked by its owner [bytes].
_LARGEST = 2**34
#: What deflate can make of a byte at most.
_DENSEST = 1100


ABOUT = About(
    "MRC in gzip",
    versions="as MRC",
    cameras=mrc.ABOUT.cameras,
    types=mrc.ABOUT.types,
    pixel_size=mrc.ABOUT.pixel_size,
    time=mrc.ABOUT.time,
    more="It is unpacked into a temporary file of 16 GiB at most while it is open.",
)


def open_signals(path: Path, stack: contextlib.ExitStack) -> list[Signal]:
    """The stack of the MRC file; its .mdoc may be beside it under both names.

    Raises
    ------
    IncompleteFile
        The file ends before what its header announces.
    UnreadableFrame
        It holds something else, or would take more than 16 GiB.
    """
    size = path.stat().st_size
    handle, name = tempfile.mkstemp(suffix=".mrc", prefix="faultwatch-")
    stack.callback(_remove, name)
    try:
        with gzip.open(path) as packed, os.fdopen(handle, "wb") as unpacked:
            header = packed.read(_HEADER)
            announced = mrc.announced_size(header)
            if announced > _LARGEST:
                raise UnreadableFrame(f"it would take {announced / 2**30:.0f} GiB; unpack it yourself")
            if announced > _DENSEST * size:
                raise UnreadableFrame(f"it announces {announced} bytes in a file of {size}: a damaged header")
            unpacked.write(header)
            left = announced - len(header)
            while left > 0 and (piece := packed.read(min(left, _PIECE))):
                unpacked.write(piece)
                left -= len(piece)
            packed.read(1)  # up to the end mark, which tells that nothing was cut off
    except EOFError as error:
        raise IncompleteFile("the file is incomplete: it ends before its end mark") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableFrame(f"it can't be unpacked ({error})") from error
    except OSError as error:
        if error.errno is None:
            raise UnreadableFrame(f"it can't be unpacked ({error})") from error
        raise UnreadableFrame(f"there is no room to unpack it ({error.strerror})") from error
    inner = path.with_suffix("")
    return mrc.open_signals(Path(name), stack, beside=inner)


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(name)
