"""A file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from monitor.errors import InputError


@contextlib.contextmanager
def whole_file(to: Path) -> Iterator[Path]:
    """Gives a path beside `to` to write at; it takes the place of `to` when the block has gone well, else it is gone.

    Raises
    ------
    InputError
        The file can't be written.
    """
    part = to.with_name(f"{to.name}.part")
    try:
        yield part
        os.replace(part, to)
    except OSError as error:
        raise InputError(f"{to} can't be written: {error.strerror or error}", path=to) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
