"""Files of a directory that show again what another file of it shows, so that each exposure is counted once.

A copy is: a hard link or a symbolic link to another file; the same bytes under the same name in another folder (a
file is being moved, or was sorted away); a picture exported beside the camera's own file, under the same stem. Files
of the same bytes under different names are no copies but what a frozen camera writes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import UnreadableFrame
from monitor.read import open_frames
from monitor.read.copies import show_the_same
from monitor.read.names import FORMATS, by_name
from monitor.settings import WatchSettings
from monitor.sources.base import SourceStatus

log = logging.getLogger("faultwatch.directory")

#: Which of two files of one exposure is kept, the first is: a camera's own, then what holds any number, then pictures.
_ORDER = ("dm", "hdf5", "tia", "tvips", "mrc", "gz", "tiff", "npy", "npz", "raster")


@dataclass(frozen=True)
class Twin:
    """What another file is to a file that was found."""

    path: Path
    better: bool
    """It is kept, and the file that was found is the copy; else the other way round."""


class Twins:
    """What is known of the files of a directory, by which copies are found."""

    def __init__(self, settings: WatchSettings, status: SourceStatus) -> None:
        self._settings = settings
        self._status = status
        self._inodes: dict[tuple[int, int], set[str]] = {}
        self._stems: dict[str, set[str]] = {}
        self._contents: dict[tuple[str, str], str] = {}
        self._seen: set[str] = set()

    def saw(self, path: str, figures: os.stat_result) -> None:
        """Keep that there is a file of frames."""
        if figures.st_nlink > 1 and figures.st_ino:
            self._inodes.setdefault((figures.st_dev, figures.st_ino), set()).add(path)
        if path not in self._seen:
            self._seen.add(path)
            self._stems.setdefault(_stem(path), set()).add(path)

    def announced(self, path: str, content: str | None) -> None:
        """Keep that the frames of a file were announced, with this content of the first."""
        key = (os.path.basename(path), content or "")
        if content is not None and not os.path.exists(self._contents.get(key, "")):
            self._contents[key] = path

    def copy(self, path: str, of: str) -> None:
        """Count a file as a copy of another one, once."""
        if self._status.copies.get(path) != of:
            self._status.copies[path] = of
            log.info("event=duplicate path=%s copy_of=%s", path, of)
        self._status.duplicates = max(self._status.duplicates, len(self._status.copies))

    def find(
        self, path: str, figures: os.stat_result, content: str | None, settled: Container[str]
    ) -> Twin | None:
        """The file of which this one is a copy, or which is a copy of it; None where there is none.

        Parameters
        ----------
        content : hash of the first frame.
        settled : files that were announced, or found to be copies.
        """
        for other in sorted(self._inodes.get((figures.st_dev, figures.st_ino), set()) - {path}):
            if other in settled and other not in self._status.copies and _is_same_file(other, figures):
                return Twin(Path(other), better=True)
        if content is not None:
            first = self._contents.get((os.path.basename(path), content))
            if first is not None and first != path and os.path.exists(first):
                return Twin(Path(first), better=True)
        for other in sorted(self._stems.get(_stem(path), set()) - {path}):
            better = self._rank(other) < self._rank(path)
            if (better or other in settled) and other not in self._status.copies and self._alike(path, other):
                return Twin(Path(other), better)
        return None

    def forget_but(self, seen: set[str]) -> list[str]:
        """Forget files that are gone; gives the copies whose original is among them, to be looked into again."""
        self._inodes = {key: paths & seen for key, paths in self._inodes.items() if paths & seen}
        self._stems = {key: paths & seen for key, paths in self._stems.items() if paths & seen}
        self._seen &= seen
        left = [path for path, of in self._status.copies.items() if of not in seen and not os.path.exists(of)]
        for path in left:
            del self._status.copies[path]
        if self._status.ready and not self._status.busy:
            self._status.duplicates = len(self._status.copies)
        return [path for path in left if path in seen]

    def _rank(self, path: str) -> tuple[bool, int, int, str]:
        """What is kept of several files of one exposure: the smallest."""
        format_ = by_name(Path(path))
        module = "" if format_ is None else format_.module
        place = _ORDER.index(module) if module in _ORDER else len(_ORDER)
        unscaled = False
        if self._settings.pixel_size is None and self._settings.force_pixel_size is None:
            unscaled = not _has_scale(path)
        return unscaled, place, FORMATS.index(format_) if format_ is not None else 0, path

    def _alike(self, path: str, other: str) -> bool:
        """Whether two files hold as many frames, and their first and last ones are the same exposures."""
        try:
            with open_frames(Path(path)) as one, open_frames(Path(other)) as two:
                if one.count != two.count:
                    return False
                ends = sorted({0, one.count - 1})
                return all(show_the_same(one.frame(i).pixels, two.frame(i).pixels) for i in ends)
        except UnreadableFrame:
            return False


def _stem(path: str) -> str:
    """Folder and name of a file without the suffix of its format, in lower case."""
    format_ = by_name(Path(path))
    lower = path.lower()
    suffixes = () if format_ is None else format_.suffixes
    return next((lower.removesuffix(suffix) for suffix in suffixes if lower.endswith(suffix)), lower)


def _has_scale(path: str) -> bool:
    try:
        with open_frames(Path(path)) as file:
            return file.frame(0).pixel_size_nm is not None
    except UnreadableFrame:
        return False


def _is_same_file(path: str, figures: os.stat_result) -> bool:
    try:
        other = os.stat(path)
    except OSError:
        return False
    return (other.st_dev, other.st_ino) == (figures.st_dev, figures.st_ino)
