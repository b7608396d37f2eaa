"""Real frames of empty support, as backgrounds for simulated particles.

A frame becomes relative intensity at the data set's sampling: divided by what varies over more than `SMOOTH_NM`.
Its own noise stays in it, so an image laid on it is a little noisier than its dose says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

SMOOTH_NM = 4.0
PIXEL_NM = 0.05
"""Sampling at which frames are kept [nm]."""
LEAST = 256
"""Side of the smallest frame that is of use, at that sampling [px]."""
NAME = "backgrounds.npz"


def relative_intensity(frame: npt.NDArray[np.floating], pixel_size_nm: float) -> npt.NDArray[np.float32]:
    """A frame (H, W) in any counts as relative intensity (H', W') at `PIXEL_NM`, mean 1.

    Raises
    ------
    ValueError
        The frame is blank, or its field is smaller than an image of the data set.
    """
    scale = pixel_size_nm / PIXEL_NM
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    if min(size) < LEAST:
        raise ValueError(f"its field of {min(size) * PIXEL_NM:.1f} nm is below {LEAST * PIXEL_NM:.1f} nm")
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(frame.astype(np.float32), size, interpolation=how)
    even = cv2.GaussianBlur(image, (0, 0), SMOOTH_NM / PIXEL_NM, borderType=cv2.BORDER_REFLECT)
    if not image.std() > 1e-6 * abs(float(image.mean())) or even.min() <= 0:
        raise ValueError("it is blank, or darker than nothing")
    return np.asarray(np.clip(image / even, 0.2, 3.0), dtype=np.float32)


@dataclass(frozen=True)
class Backgrounds:
    """The frames of empty support of a data set."""

    frames: tuple[npt.NDArray[np.float32], ...]

    def save(self, folder: Path) -> None:
        """Keep them in the data set's folder, which is made where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / NAME, *self.frames)

    @classmethod
    def load(cls, folder: Path) -> Backgrounds:
        """From a data set's folder.

        Raises
        ------
        ValueError
            None were kept there.
        """
        path = folder / NAME
        if not path.exists():
            raise ValueError(f"{path} is not there: give the folder of empty frames again (--background)")
        with np.load(path) as stored:
            return cls(tuple(stored[name] for name in stored.files))

    @classmethod
    def of(
        cls,
        frames: Iterable[tuple[npt.NDArray[np.floating], float]],
        passed_over: Callable[[ValueError], None] | None = None,
    ) -> Backgrounds:
        """From (frame (H, W), pixel size [nm]) of each.

        Parameters
        ----------
        passed_over : told why a frame is of no use; `None`: such a frame is an error.

        Raises
        ------
        ValueError
            A frame is of no use (see `relative_intensity`), or none is left.
        """
        kept = []
        for frame, pixel_size_nm in frames:
            try:
                kept.append(relative_intensity(frame, pixel_size_nm))
            except ValueError as error:
                if passed_over is None:
                    raise
                passed_over(error)
        if not kept:
            raise ValueError("there is no frame that can be laid under particles")
        return cls(tuple(kept))

    def of_split(self, split: str) -> Backgrounds:
        """Those of one split: the last two of ten are for validation and test, so no frame serves two of them.

        With fewer than three frames every split has them all.
        """
        if len(self.frames) < 3:
            return self
        where = {"validation": len(self.frames) - 2, "test": len(self.frames) - 1}
        if split in where:
            return Backgrounds((self.frames[where[split]],))
        return Backgrounds(self.frames[: len(self.frames) - 2])

    def draw(self, gpts: int, pixel_size_nm: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """A random piece (gpts, gpts) of a random frame, turned and mirrored; mirrored on where it is too small."""
        frame = self.frames[int(rng.integers(len(self.frames)))]
        size = round(gpts * pixel_size_nm / PIXEL_NM)
        missing = [max(0, size - n) for n in frame.shape]
        frame = np.pad(frame, [(0, n) for n in missing], mode="symmetric")
        r, c = (int(rng.integers(0, n - size + 1)) for n in frame.shape)
        piece = np.rot90(frame[r : r + size, c : c + size], int(rng.integers(4)))
        if rng.random() < 0.5:
            piece = piece[:, ::-1]
        return np.asarray(
            cv2.resize(np.ascontiguousarray(piece), (gpts, gpts), interpolation=cv2.INTER_CUBIC)
        )
