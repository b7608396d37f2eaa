"""The project's own exceptions, one small tree.

    FaultwatchError
    └── InputError          something is wrong with what was given: one sentence on stderr, exit status 1
        ├── UnreadableFrame   a file or a frame in it has no picture that can be analysed
        │   └── IncompleteFile    the file ends before what it announces: cut off, or still being written
        ├── NoPixelSize       the picture is fine, its scale is unknown or absurd
        ├── BadMessage        bytes from the wire that are no frame
        ├── NoSession         a folder that should be a session is none
        └── SessionLocked     another program writes this session

What a person reads is `str(error)`: a whole sentence with the number and the way out. All of them can be
pickled, because frames are read in other processes.
"""

from __future__ import annotations

from pathlib import Path


class FaultwatchError(Exception):
    """Root of all exceptions that this program raises itself."""


class InputError(FaultwatchError):
    """Something is wrong with what was given; the message is a sentence for the person who gave it."""

    def __init__(self, reason: str, *, path: Path | None = None, index: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        """The file or folder that it concerns, where it concerns one."""
        self.index = index
        """The frame in that file, where it concerns one."""


class UnreadableFrame(InputError):
    """A file, or a frame in it, holds no picture that can be analysed (damaged, a spectrum, complex data)."""


class IncompleteFile(UnreadableFrame):
    """The file ends before what its header announces: it was cut off, or it is still being written."""


class NoPixelSize(InputError):
    """The picture is fine, but its pixel size is unknown or outside of what can be analysed."""


class BadMessage(InputError):
    """Bytes from the wire that are no frame."""


class NoSession(InputError):
    """A folder that should hold a session holds none, or one of another version."""


class SessionLocked(InputError):
    """Another program is writing this session."""
