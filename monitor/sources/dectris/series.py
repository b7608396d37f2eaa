"""Series of images: each is a counting of its own, a `run`."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from typing import Any

from monitor.read.jsonable import jsonable
from monitor.sources.wire import Attributes, sender_name

#: Who counts, in the record; a detector's serial number comes only with a series' header, which may be missed.
SOURCE = "dectris"

#: What a series' header says is kept with every frame, up to so much of it [characters of JSON].
_MOST_KEPT = 2**16

_REMEMBERED = 1000


class Runs:
    """Names for countings: a series' own name, and which time it is where a series of that name came before.

    A detector that was restarted counts its series from 1 again; a simulator sends the same series at every arm.
    """

    def __init__(self) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()

    def resume(self, sender: str) -> None:
        """A frame of this sender is known already."""
        run = sender.removeprefix(f"{SOURCE}/")
        if run != sender:
            name, times = _parted(run)
            self._set(name, max(times, self._times.get(name, 0)))

    def begin(self, series: object) -> None:
        """A series was announced."""
        name = _series_name(series)
        self._set(name, self._times.get(name, 0) + 1)

    def name(self, series: object) -> str:
        """The run that a frame of this series belongs to."""
        name = _series_name(series)
        if name not in self._times:
            self._set(name, 1)
        times = self._times[name]
        return name if times == 1 else f"{name}#{times}"

    def _set(self, name: str, times: int) -> None:
        self._times[name] = times
        self._times.move_to_end(name)
        if len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)


def _series_name(series: object) -> str:
    return str(series)[:100].encode("utf-8", "replace").decode()


def _parted(run: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*)#([1-9]\d{0,8})", run, re.DOTALL)
    return (found[1], int(found[2])) if found else (run, 1)


def sender(run: str) -> str:
    """Who counts a run's frames."""
    return sender_name(SOURCE, run)


def details(said: Any) -> Any:
    """What a series' header said, as it is kept with every frame of the series."""
    plain = jsonable(said)
    size = len(json.dumps(plain))
    return plain if size <= _MOST_KEPT else f"{size} characters, left out"


def attributes(exposure_s: object, *said: object) -> dict[str, Any]:
    """`ndattr` of a frame: its exposure [s], and what an operator's own data (objects) say beside.

    A detector knows the size of its own pixels, which says nothing of the specimen; only the microscope's
    software can know that, and may put `pixel_size_nm` into the data that the detector passes on.
    """
    known: dict[str, Any] = {"exposure_s": exposure_s}
    for own in said:
        if isinstance(own, dict):
            known |= {name: own[name] for name in Attributes.model_fields if name in own}
    return Attributes.model_validate(known).model_dump(exclude_none=True)
