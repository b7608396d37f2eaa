"""Training examples: the choice of an image, its augmentation and its targets.

Each step's draw depends on the seed and the step's number alone: interrupted, a training goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.examples.augment import NEGATIVES, burn_in, step_field, turn_and_scale
from models.examples.exposure import expose_again
from models.examples.shards import Examples
from models.examples.strata import preset_of
from models.preprocess import Preprocessing, standardise

CORE_NM = 0.4
"""A pixel belongs to the core if it is further than this from its particle's border [nm]."""
DIMMEST = 0.3
"""Behind a step that is laid over particles at least this share of the light is left, so that they are still seen."""
OTHERS = 0.2
"""Weight of a preset that `Drawing.weights` does not name."""


@dataclass(frozen=True)
class Drawing:
    """How examples are drawn."""

    weights: dict[str, float] = field(
        default_factory=lambda: {"lattice": 0.42, "overview": 0.2, "grains": 0.2, "bare": 0.1, "soot": 0.08}
    )
    """How often images of each preset come; those that the data set has not got are left out."""
    negatives: float = 0.18
    """Share of examples that are made to hold nothing (`models.examples.augment.NEGATIVES`)."""
    kinds: dict[str, float] = field(
        default_factory=lambda: {"fringes": 4.0, "edge": 3.0, "contamination": 2.0, "half-dark": 5.0}
    )
    """How often a kind of them comes, against 1 for one not named: those hard to tell from a particle more."""
    steps: float = 0.06
    """Share of the images with particles that get a step of the illumination (`models.examples.augment.step_field`)."""
    marks: float = 0.04
    """Share with a burnt-in scale bar or data line."""
    randomise: bool = True
    """Whether images are exposed again (`models.examples.exposure`), turned by any angle, scaled and marked."""


class Pool:
    """The images of a data set, drawn by the weight of their preset."""

    def __init__(self, data: Examples, weights: dict[str, float]) -> None:
        self.data = data
        members: dict[str, list[int]] = {}
        for number, about in enumerate(data.about):
            members.setdefault(preset_of(about), []).append(number)
        self.members = list(members.values())
        shares = np.array([weights.get(name, OTHERS) for name in members])
        self.shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> int:
        """The number of an image."""
        group = self.members[int(rng.choice(len(self.members), p=self.shares))]
        return group[int(rng.integers(len(group)))]


def targets(labels: npt.NDArray[np.uint8], pixel_size_nm: float) -> npt.NDArray[np.float32]:
    """(H, W) labels → (2, H, W): inside any particle; further than `CORE_NM` from the border of one."""
    particle = (labels > 0).astype(np.float32)
    distance = distance_to_border(labels) * pixel_size_nm
    return np.stack([particle, ((labels > 0) & (distance > CORE_NM)).astype(np.float32)])


def distance_to_border(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(H, W) labels → (H, W) distance of a particle's pixels to its border [px], 0 outside.

    A step between two labels is a border too; distances are taken inside what is left.
    """
    border = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    inside = ((labels > 0) & ~border).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 3))


def example(
    pool: Pool, drawing: Drawing, preprocessing: Preprocessing, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """One training example: standardised image (H, W), targets (2, H, W)."""
    size = pool.data.images.shape[1]
    if rng.random() < drawing.negatives:
        shares = np.array([drawing.kinds.get(kind, 1.0) for kind in NEGATIVES])
        kind = str(rng.choice(list(NEGATIVES), p=shares / shares.sum()))
        # What the flat field leaves of a step reaches further in a larger frame.
        frame = size * int(rng.choice([1, 2, 4])) if kind == "half-dark" else size
        image, labels = NEGATIVES[kind](frame, rng), np.zeros((frame, frame), np.uint8)
    else:
        number = pool.draw(rng)
        image, labels = pool.data.images[number].astype(np.float32), pool.data.labels[number]
        if drawing.randomise:
            image, labels = turn_and_scale(image, labels, rng)
            image = expose_again(image, rng)
            if rng.random() < drawing.steps:
                image = image * np.maximum(step_field(size, rng), DIMMEST)
    if drawing.randomise and rng.random() < drawing.marks:
        image, labels = burn_in(image, labels, rng)
    image = standardise(image, preprocessing)
    if len(image) > size:
        top, left = (int(n) for n in rng.integers(0, len(image) - size + 1, 2))
        image, labels = (a[top : top + size, left : left + size] for a in (image, labels))
    if drawing.randomise:
        # The frame's spread depends on what else is in view; the net must not rely on it.
        image = image * np.float32(np.exp(rng.normal(0, 0.15))) + np.float32(rng.normal(0, 0.1))
    return image, targets(labels, preprocessing.pixel_size_nm)


def batches(
    pool: Pool, drawing: Drawing, preprocessing: Preprocessing, size: int, seed: int, first_step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches from `first_step` on: images (B, 1, H, W) and targets (B, 2, H, W)."""
    step = first_step
    while True:
        rng = np.random.default_rng([seed, step])
        drawn = [example(pool, drawing, preprocessing, rng) for _ in range(size)]
        images = torch.from_numpy(np.stack([d[0] for d in drawn]))[:, None]
        wanted = torch.from_numpy(np.stack([d[1] for d in drawn]))
        yield images.contiguous(memory_format=torch.channels_last), wanted
        step += 1
