"""Label images as files: int32 TIFF, one a frame, and the names they get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.results import Analysis
from monitor.errors import InputError


class MaskNames:
    """Names of label images for the frames of files: `<stem>.tif`, in a stack `<stem>_<index>.tif`.

    Stems that collide get the parent folder's name before them; where that does not tell them apart, their
    suffix after them as well (`a.dm4` and `a.tif` in one folder); then all their folders' names.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        distinct = {path.absolute(): _candidates(path.absolute()) for path in paths}
        self._stems = {path: candidates[0] for path, candidates in distinct.items()}
        for level in range(1, 4):
            taken = Counter(stem.casefold() for stem in self._stems.values())
            for path, stem in self._stems.items():
                if taken[stem.casefold()] > 1:
                    self._stems[path] = distinct[path][level]
        self._given: dict[str, tuple[Path, int]] = {}

    def name(self, path: Path, index: int, single: bool) -> str:
        """The name for one frame of a file; `single`: the file has no other."""
        path = path.absolute()
        ending = ".tif" if single else f"_{index}.tif"
        # A picture named a_1 and the second frame of a stack named a meet only here.
        for stem in (self._stems[path], *_candidates(path)[1:]):
            name = f"{stem}{ending}"
            if self._given.setdefault(name.casefold(), (path, index)) == (path, index):
                return name
        raise InputError(f"no name is left for the label image of frame {index}", path=path, index=index)


def _candidates(path: Path) -> tuple[str, str, str, str]:
    """Stems for a file, each telling more than the one before."""
    parent, suffix = path.parent.name, path.suffix.lstrip(".")
    with_parent = f"{parent}_{path.stem}"
    whole = "_".join([*path.parent.parts[1:], path.stem, suffix])
    return path.stem, with_parent, f"{with_parent}_{suffix}", whole


def label_image(analysis: Analysis) -> npt.NDArray[np.int32]:
    """The label image (H, W) of a frame: 0 background, i particle i in the order of `particles` from 1.

    Regions called `empty` are 0, though they stay among the particles.
    """
    if analysis.labels is None:
        return np.zeros(analysis.shape, np.int32)
    highest = max((particle.label for particle in analysis.particles), default=0)
    numbers = np.zeros(max(highest, int(analysis.labels.max(initial=0))) + 1, np.int32)
    for number, particle in enumerate(analysis.particles, start=1):
        if particle.particle_class != "empty":
            numbers[particle.label] = number
    return numbers[analysis.labels]


def write_mask(path: Path, analysis: Analysis) -> None:
    """Write a frame's label image as an int32 TIFF.

    Raises
    ------
    InputError
        It can't be written.
    """
    import tifffile  # only needed where masks are asked for

    try:
        tifffile.imwrite(path, label_image(analysis), compression="zlib")
    except OSError as error:
        raise InputError(f"the label image {path} can't be written: {error.strerror}", path=path) from error
