"""An operator's own frames with masks, as training examples.

They are found as `models.evaluation.real` says. A mask is nonzero where particles are; if its nonzero values
are 1, 2, … n, or it
has more than 8 bits, each value is an instance of its own, so that touching particles stay apart, unless the largest
value is the largest of its type (255, 65535): that is white, and the values are greys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import ModelError
from models.examples.real_frames import Reader, RealFrames, RealPair, grey
from models.examples.shards import Examples
from models.preprocess import Preprocessing, remove_outliers, resample

PRESET = "own"
"""What these examples are called beside the presets of a data set."""
TILE = 256
STEP = 128
"""Between the beginnings of two tiles of a frame [px]."""
SPREAD = 0.2
"""Standard deviation to which a frame is brought, about a mean of 1: half floats then hold it well."""


@dataclass(frozen=True)
class OwnFrame:
    """A frame of the operator's with its truth."""

    name: str
    image: npt.NDArray[np.float32]
    """(H, W) counts."""
    instances: npt.NDArray[np.int32]
    """(H, W), 0 background."""
    pixel_size_nm: float
    digest: str
    """SHA-256 of the frame's file and the mask's."""

    def pair(self) -> RealPair:
        """As `models.evaluation.real` scores it."""
        return RealPair(self.name, self.image, self.instances > 0, self.pixel_size_nm)


def read_own(where: RealFrames, read: Reader) -> list[OwnFrame]:
    """Every frame that has a mask, in the order of the names.

    Raises
    ------
    ModelError
        No frame has a mask, a mask is of another size than its frame, a frame is not finite or is constant, or every
        mask is empty.
    """
    found = []
    for path, mask_path in where.pairs():
        image, mask = grey(read(path)).astype(np.float32), _flat(read(mask_path))
        if image.shape != mask.shape:
            raise ModelError(f"{mask_path} is {_size(mask)} pixels, its frame {path.name} is {_size(image)}")
        if not np.isfinite(image).all() or float(image.std()) <= 0:
            raise ModelError(f"{path} is not finite or is constant; nothing can be learnt from it")
        digest = sha256(path.read_bytes() + mask_path.read_bytes()).hexdigest()
        found.append(OwnFrame(path.name, image, instances_of(mask), where.pixel_size_nm, digest))
    if not any(frame.instances.any() for frame in found):
        raise ModelError(
            f"the masks of all {len(found)} frames in {where.where} are empty; at least one has to mark a particle"
        )
    return found


def _size(image: npt.NDArray[Any]) -> str:
    return " × ".join(str(n) for n in image.shape)


def _flat(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W) of a mask; of colours the largest counts, transparency does not."""
    return mask if mask.ndim == 2 else np.asarray(mask[..., :3].max(axis=-1))


def instances_of(mask: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """(H, W) mask of any type → (H, W) instances 1, 2, …: connected parts, of each value where values are labels."""
    values = np.unique(mask[mask != 0])
    labelled = False
    if mask.dtype.kind in "iu" and len(values) > 1 and values[-1] < np.iinfo(mask.dtype).max:
        labelled = mask.dtype.itemsize > 1 or np.array_equal(values, np.arange(1, len(values) + 1))
    if not labelled:  # one value, or the greys of a smoothed outline, whose whitest is the type's largest
        values, mask = np.array([1]), mask != 0
    instances = np.zeros(mask.shape, np.int32)
    highest = 0
    for value in values:
        count, parts = cv2.connectedComponents((mask == value).astype(np.uint8), connectivity=4)
        instances[parts > 0] = parts[parts > 0] + highest
        highest += count - 1
    return instances


def at_canonical(
    image: npt.NDArray[np.float32],
    instances: npt.NDArray[np.int32],
    pixel_size_nm: float,
    preprocessing: Preprocessing,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """A frame and its instances (H, W) at canonical sampling, mirrored on where they are smaller than a tile."""
    cleaned = remove_outliers(np.ascontiguousarray(image), preprocessing.outlier_sigmas)
    resampled, scale = resample(cleaned, pixel_size_nm / preprocessing.pixel_size_nm)
    rows, cols = (
        np.minimum(((np.arange(n) + 0.5) / factor).astype(int), limit - 1)
        for n, factor, limit in zip(resampled.shape, scale, instances.shape, strict=True)
    )
    missing = [(0, max(0, TILE - n)) for n in resampled.shape]
    return np.pad(resampled, missing, mode="symmetric"), np.pad(
        instances[rows][:, cols], missing, mode="symmetric"
    )


def tiles_of(
    frame: OwnFrame, preprocessing: Preprocessing
) -> list[tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]]:
    """Overlapping tiles (256, 256) of a frame at canonical sampling, mirrored where it is smaller."""
    relative = 1 + SPREAD * (frame.image - frame.image.mean()) / frame.image.std()
    image, instances = at_canonical(
        relative.astype(np.float32), frame.instances, frame.pixel_size_nm, preprocessing
    )
    starts = [sorted({*range(0, n - TILE + 1, STEP), n - TILE}) for n in image.shape]
    tiles = []
    for row in starts[0]:
        for col in starts[1]:
            window = (slice(row, row + TILE), slice(col, col + TILE))
            _, numbers = np.unique(np.append(instances[window].ravel(), 0), return_inverse=True)
            labels = np.minimum(numbers[:-1], 255).reshape(TILE, TILE).astype(np.uint8)
            tiles.append((image[window].astype(np.float16), labels))
    return tiles


def as_examples(
    frames: Sequence[OwnFrame], preprocessing: Preprocessing, replay: Examples | None
) -> Examples:
    """The frames' tiles as examples of the preset `PRESET`, before those of a data set that is learnt again."""
    images, labels, about = [], [], []
    for number, frame in enumerate(frames):
        for image, truth in tiles_of(frame, preprocessing):
            images.append(image)
            labels.append(truth)
            about.append({"specimen": f"{PRESET}-0-{number}", "split": "train", "particles": []})
    digest = digest_of(frames)
    if replay is None:
        return Examples(np.stack(images), np.stack(labels), about, preprocessing.pixel_size_nm, digest)
    if replay.images.shape[1:] != (TILE, TILE):
        raise ModelError(f"the replayed data set has images of {_size(replay.images[0])} pixels, not {TILE}")
    return Examples(
        np.concatenate([np.stack(images), replay.images]),
        np.concatenate([np.stack(labels), replay.labels]),
        about + replay.about,
        preprocessing.pixel_size_nm,
        sha256((digest + replay.digest).encode()).hexdigest(),
    )


def digest_of(frames: Sequence[OwnFrame]) -> str:
    """SHA-256 over the frames' own."""
    return sha256("".join(frame.digest for frame in frames).encode()).hexdigest()


def split_frames(
    frames: Sequence[OwnFrame], held_out: float | None, seed: int, folder: Path
) -> list[list[int]]:
    """Numbers of the frames that each training leaves out: one group, or one frame each where `held_out` is `None`.

    Raises
    ------
    ModelError
        There are too few frames, or the share is none.
    """
    if len(frames) < 2:
        raise ModelError(
            f"{folder} has one frame with a mask, which can't be learnt from and judged too; give at least two"
        )
    if held_out is None:
        return [[n] for n in range(len(frames))]
    if not 0 < held_out < 1:
        raise ModelError(f"the share of frames held out lies between 0 and 1; {held_out} does not")
    count = min(max(1, round(held_out * len(frames))), len(frames) - 1)
    order = np.random.default_rng([seed, 31]).permutation(len(frames))
    return [sorted(int(n) for n in order[:count])]
