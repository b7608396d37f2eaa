"""Dates and times in the spellings of files, as seconds since 1970."""

from __future__ import annotations

import datetime
import math

#: Before 1980 no electron microscope wrote files; later than 2100 is a damaged header.
_EARLIEST = 315_532_800.0
_LATEST = 4_102_444_800.0

_FORMATS = (
    "%Y:%m:%d %H:%M:%S",
    "%d-%b-%y  %H:%M:%S",
    "%d-%b-%Y  %H:%M:%S",
    "%d-%b-%y %H:%M:%S",
    "%d-%b-%Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
)


def plausible_time(seconds: float | None) -> float | None:
    """The same time where it lies between 1980 and 2100, else None."""
    if seconds is None or not math.isfinite(seconds):
        return None
    return float(seconds) if _EARLIEST <= seconds <= _LATEST else None


def parse_time(text: str | None) -> float | None:
    """A date and time as seconds since 1970 UTC, None where it is not understood.

    A time without a zone is taken to be in the zone of this computer, like that of the microscope's computer.
    """
    if not text:
        return None
    text = text.strip("\0 \t\r\n")
    try:
        return plausible_time(datetime.datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        pass
    for pattern in _FORMATS:
        try:
            return plausible_time(datetime.datetime.strptime(text, pattern).timestamp())
        except (ValueError, OverflowError, OSError):
            continue
    return None


def from_filetime(ticks: float | None) -> float | None:
    """A Windows FILETIME [100 ns since 1601] as seconds since 1970 UTC; None where it is not plausible."""
    return None if ticks is None else plausible_time(ticks / 1e7 - 11_644_473_600.0)
