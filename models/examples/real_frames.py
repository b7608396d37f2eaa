"""Real frames with masks: found by their names, and read.

A frame and its mask are `X_image.ext` and `X_mask.ext`, `X.ext` and `X_mask.ext`, or files of the same stem in the
folders `images` and `masks`. Any nonzero value of a mask is particle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import ModelError

PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".npy")
"""What `read_picture` reads."""
FRAMES = (*PICTURES, ".dm3", ".dm4", ".mrc", ".emd", ".ser", ".hspy", ".h5", ".hdf5", ".tvips")
"""What may be a frame; the others need a reader that knows the microscope's formats."""

#: A file → (H, W) or (H, W, C) of any real type.
Reader = Callable[[Path], npt.NDArray[Any]]


@dataclass(frozen=True)
class RealFrames:
    """Frames of one pixel size: a folder, or a pattern such as `gold/0[1-4]*`."""

    where: Path
    pixel_size_nm: float

    @classmethod
    def parse(cls, text: str) -> RealFrames:
        """From `DIR=NM` or `DIR/PATTERN=NM`.

        Raises
        ------
        ModelError
            There is no pixel size in it.
        """
        where, _, size = text.rpartition("=")
        try:
            pixel_size_nm = float(size)
        except ValueError:
            pixel_size_nm = 0.0
        if not where or not 0 < pixel_size_nm < 10:
            raise ModelError(f"{text} does not say the pixel size; write it as DIR=0.05 (nm/px)")
        return cls(Path(where), pixel_size_nm)

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.where if self.where.is_dir() else self.where.parent

    def files(self) -> list[Path]:
        """Every picture there, in the order of the names; of a folder with `images` in it, those.

        Raises
        ------
        ModelError
            There is none.
        """
        if self.where.is_dir():
            inner = self.where / "images"
            found = list((inner if inner.is_dir() else self.where).iterdir())
        elif self.where.is_file():
            found = [self.where]
        else:
            found = list(self.where.parent.glob(self.where.name))
        pictures = sorted(p for p in found if p.suffix.lower() in FRAMES)
        if not pictures:
            raise ModelError(f"{self.where} holds no picture")
        return pictures

    def pairs(self) -> list[tuple[Path, Path]]:
        """(frame, mask) of every frame that has a mask.

        Raises
        ------
        ModelError
            There is no such pair.
        """
        frames = [p for p in self.files() if not p.stem.endswith("_mask")]
        pairs = [(frame, mask) for frame in frames if (mask := _mask_of(frame)) is not None]
        if not pairs:
            raise ModelError(f"{self.where} holds no frame with a mask (X_image and X_mask, or X and X_mask)")
        return pairs


def _mask_of(frame: Path) -> Path | None:
    stems = [f"{frame.stem.removesuffix('_image')}_mask", f"{frame.stem}_mask"]
    places = [frame.with_name(stem) for stem in stems]
    if frame.parent.name == "images":
        masks = frame.parent.with_name("masks")
        places += [masks / frame.stem, *(masks / stem for stem in stems)]
    for place in places:
        for suffix in dict.fromkeys((frame.suffix, *FRAMES)):
            candidate = place.with_name(place.name + suffix)
            if candidate.is_file():
                return candidate
    return None


def read_picture(path: Path) -> npt.NDArray[Any]:
    """A picture file as an array, its colours as they are.

    Raises
    ------
    ModelError
        It can't be read.
    """
    if path.suffix.lower() == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} can't be read: {error}") from error
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ModelError(f"{path} can't be read as a picture")
    return np.asarray(picture)


def grey(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W) of a picture: the mean of its colours, without transparency."""
    return picture if picture.ndim == 2 else np.asarray(picture[..., :3].mean(axis=-1, dtype=np.float32))


@dataclass(frozen=True)
class RealPair:
    """A frame and what is true of it."""

    name: str
    image: npt.NDArray[Any]
    """(H, W) counts."""
    mask: npt.NDArray[np.bool_]
    """(H, W)."""
    pixel_size_nm: float


def read_pairs(frames: RealFrames, read: Reader = read_picture) -> list[RealPair]:
    """Every frame that has a mask.

    Raises
    ------
    ModelError
        None has one, a file can't be read, or a mask is of another size than its frame.
    """
    found = []
    for path, mask_path in frames.pairs():
        image, mask = grey(read(path)), grey(read(mask_path)) > 0
        if image.shape != mask.shape:
            raise ModelError(f"{mask_path} is {mask.shape}, its frame {path.name} {image.shape} pixels")
        found.append(RealPair(path.name, image, mask, frames.pixel_size_nm))
    return found
