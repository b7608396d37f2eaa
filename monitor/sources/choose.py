"""Which source an operator means by what was typed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from monitor.errors import InputError
from monitor.settings import WatchSettings
from monitor.sources.base import Source
from monitor.sources.direct_electron.source import DirectElectronSource
from monitor.sources.directory import DirectorySource
from monitor.sources.socket import SCHEMES, SocketSource


def choose_source(
    given: str,
    settings: WatchSettings,
    spool: Path,
    *,
    skip_before: float | None = None,
    clock: Callable[[], float] = time.time,
) -> Source:
    """The source for a directory or a ZeroMQ address.

    Parameters
    ----------
    spool
        Where a socket's frames are kept.
    skip_before
        Files of a directory that are there already and were written before this are passed over.
    clock
        [s since 1970 UTC]

    Raises
    ------
    InputError
        It is neither; the sentence says what can be given.
    """
    scheme, slashes, _ = given.partition("://")
    if slashes:
        if scheme in SCHEMES:
            return SocketSource(given, spool, settings, clock=clock)
        if scheme == "de":
            return DirectElectronSource(given, spool, settings, clock=clock)
        known = ", ".join(f"{name}://" for name in (*SCHEMES, "de"))
        raise InputError(f"{given}: an address begins with one of {known}; anything else is a directory")
    return DirectorySource(Path(given), settings, skip_before=skip_before, wall_clock=clock)
