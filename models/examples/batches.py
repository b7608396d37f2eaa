"""Training examples on any device: what is done to images before they are learnt from, and their targets.

From a data set, each step's draw depends on the seed and the step's number alone: interrupted, a training goes on as if
it had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from models.batched import Standardiser
from models.examples.augment import Image, empty_image, stamp, step_field
from models.examples.chance import Chance
from models.examples.exposure import burn_in, expose_again, turn_and_scale
from models.examples.shards import Examples
from models.examples.strata import preset_of
from models.preprocess import Preprocessing

CORE_NM = 0.4
"""A pixel belongs to the core if it is further than this from its particle's border [nm]."""
DIMMEST = 0.3
"""Behind a step that is laid over particles at least this share of the light is left, so that they are still seen."""
SMALL_PX = (176, 192, 208, 224, 240)
"""Sides of small frames [px]: 8.8 to 12 nm, with nothing beyond."""
WINDOWS = 6
FAINT_NM = (2.0, 3.0)
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
    hard: float = 0.0
    """Share of the frames made to hold nothing that are such the network marks (`models.examples.hard`)."""
    faint: float = 1.0
    """How much oftener an image is drawn that holds CdSe of 2 to 3 nm (`FAINT_NM`), the faintest that is judged."""
    steps: float = 0.06
    """Share of the images with particles that get a step of the illumination (`models.examples.augment.step_field`)."""
    marks: float = 0.04
    """Share with a burnt-in scale bar or data line."""
    small: float = 0.25
    """Share of the batches that are cut to small frames (`cut_small`)."""
    randomise: bool = True
    """Whether images are exposed again (`models.examples.exposure`), turned by any angle, scaled and marked."""


def is_faint(about: dict[str, Any]) -> bool:
    """Whether an image holds a CdSe particle of `FAINT_NM`."""
    return any(
        str(p.get("material")).startswith("CdSe") and FAINT_NM[0] <= (p.get("diameter_nm") or 0) < FAINT_NM[1]
        for p in about["particles"]
    )


class Pool:
    """The images of a data set, drawn by the weight of their preset; those with faint particles so much oftener."""

    def __init__(self, data: Examples, weights: dict[str, float], faint: float = 1.0) -> None:
        self.data = data
        members: dict[str, list[int]] = {}
        for number, about in enumerate(data.about):
            members.setdefault(preset_of(about), []).append(number)
        each = [
            np.array([faint if is_faint(data.about[n]) else 1.0 for n in group]) for group in members.values()
        ]
        self._up_to = [np.cumsum(one) / one.sum() for one in each]
        self.members = list(members.values())
        shares = np.array([weights.get(name, OTHERS) for name in members])
        self.shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> int:
        """The number of an image."""
        group = int(rng.choice(len(self.members), p=self.shares))
        place = int(np.searchsorted(self._up_to[group], rng.random(), side="right"))
        return self.members[group][min(place, len(self.members[group]) - 1)]


def targets(labels: Tensor, pixel_size_nm: float) -> Tensor:
    """(B, H, W) instance labels → (B, 2, H, W): inside any particle; further than `CORE_NM` from the border of one.

    A step between two labels is a border too. The border of the image is none.
    """
    border = torch.zeros_like(labels, dtype=torch.bool)
    down, right = labels[:, 1:] != labels[:, :-1], labels[:, :, 1:] != labels[:, :, :-1]
    border[:, 1:] |= down
    border[:, :-1] |= down
    border[:, :, 1:] |= right
    border[:, :, :-1] |= right
    particle = labels > 0
    inside = particle & ~border
    return torch.stack([particle, inside & ~_near(~inside, CORE_NM / pixel_size_nm)], 1).float()


def _near(marked: Tensor, radius_px: float) -> Tensor:
    """Which pixels (B, H, W) have a marked one at most so far away; what lies outside the image is not marked."""
    reach = int(radius_px)
    offsets = torch.arange(-reach, reach + 1, device=marked.device)
    disc = (offsets[:, None] ** 2 + offsets[None] ** 2 <= radius_px**2).float()
    h, w = marked.shape[1:]
    size = (h + 2 * reach, w + 2 * reach)  # so far the disc reaches round the other side
    counts = torch.fft.irfft2(torch.fft.rfft2(marked.float(), s=size) * torch.fft.rfft2(disc, s=size), s=size)
    near: Tensor = counts[:, reach : reach + h, reach : reach + w] > 0.5
    return near


Hard = Callable[[np.random.Generator], Image | None]
"""Gives a standardised image (H, W) that holds nothing, or `None`."""
Laid = Callable[[int], Tensor]
"""Gives so many fields (n, H, W) that are laid over images."""


def exposed_anew(
    images: Tensor, labels: Tensor, drawing: Drawing, chance: Chance, lights: Laid, stamps: Laid
) -> tuple[Tensor, Tensor]:
    """Images (B, H, W) with particles and their labels, exposed again; some have a step of the light, or marks.

    Parameters
    ----------
    lights : gives fields of `models.examples.augment.step_field`.
    stamps : gives stamps of `models.examples.augment.stamp`.
    """
    images, labels = expose_again(images, chance), labels.clone()
    chosen = chance.some(len(images), drawing.steps)
    if len(chosen):
        images[chosen] *= lights(len(chosen)).clamp(min=DIMMEST)
    chosen = chance.some(len(images), drawing.marks)
    if len(chosen):
        images[chosen], labels[chosen] = burn_in(images[chosen], labels[chosen], stamps(len(chosen)))
    return images, labels


def spread_anew(images: Tensor, chance: Chance) -> Tensor:
    """Standardised images (B, H, W) with other spreads and means: they hang on what else is in view."""
    b = len(images)
    return images * torch.exp(0.15 * chance.normal((b, 1, 1))) + 0.1 * chance.normal((b, 1, 1))


def seen_anew(
    images: Tensor, wanted: Tensor, drawing: Drawing, preprocessing: Preprocessing, chance: Chance
) -> tuple[Tensor, Tensor]:
    """What is drawn anew for every batch of standardised images (B, H, W) and targets (B, 2, H, W)."""
    if float(chance.rand((1,))) < drawing.small:
        images, wanted = cut_small(images, wanted, preprocessing, chance)
    return spread_anew(images, chance), wanted


def cut_small(
    images: Tensor, wanted: Tensor, preprocessing: Preprocessing, chance: Chance
) -> tuple[Tensor, Tensor]:
    """A batch as if its frames ended earlier: one window of each, of a side in `SMALL_PX`, standardised by itself.

    Of `WINDOWS` windows half of the images take the one whose edge cuts the most of particles, so that a particle is
    cut by the border about as often as not.

    Parameters
    ----------
    images : (B, H, W) standardised.
    wanted : (B, 2, H, W) targets.
    """
    b, h, w = images.shape
    sides = [side for side in SMALL_PX if side <= min(h, w)]
    if not sides:
        return images, wanted
    side = sides[int(chance.integers(1, len(sides)))]
    tops, lefts = (chance.integers(b * WINDOWS, n - side + 1).view(b, WINDOWS).tolist() for n in (h, w))
    by_edge = (chance.rand((b,)) < 0.5).tolist()
    pieces, truths = [], []
    for n in range(b):
        places = list(zip(tops[n], lefts[n], strict=True))
        cut = [_on_edge(wanted[n, 0, top : top + side, left : left + side]) for top, left in places]
        top, left = places[int(np.argmax(cut)) if by_edge[n] else 0]
        pieces.append(images[n, top : top + side, left : left + side])
        truths.append(wanted[n, :, top : top + side, left : left + side])
    standardised = Standardiser((side, side), preprocessing, str(images.device))(torch.stack(pieces))
    return standardised, torch.stack(truths)


def _on_edge(inside: Tensor) -> float:
    """How much of the edge of (H, W) is marked."""
    return float(inside[0].sum() + inside[-1].sum() + inside[:, 0].sum() + inside[:, -1].sum())


def batches(
    pool: Pool,
    drawing: Drawing,
    preprocessing: Preprocessing,
    size: int,
    seed: int,
    first_step: int,
    device: str = "cpu",
    hard: Hard | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches from `first_step` on: images (B, 1, H, W) and targets (B, 2, H, W).

    Parameters
    ----------
    hard : gives frames that hold nothing and that the network marks, where it has some.
    """
    side = pool.data.images.shape[1]
    standardiser = Standardiser((side, side), preprocessing, device)
    step = first_step
    while True:
        rng, chance = np.random.default_rng([seed, step]), Chance([seed, step], device)
        empty = int(rng.binomial(size, drawing.negatives))
        numbers = [pool.draw(rng) for _ in range(size - empty)]
        images = torch.from_numpy(pool.data.images[numbers]).to(device).float()
        labels = torch.from_numpy(pool.data.labels[numbers]).to(device)
        if drawing.randomise and numbers:
            lights, stamps = _made(step_field, side, rng, device), _made(stamp, side, rng, device)
            images, labels = turn_and_scale(images, labels, chance)
            images, labels = exposed_anew(images, labels, drawing, chance, lights, stamps)
        if numbers:
            images = standardiser(images)
        if empty:
            made = [_empty(side, drawing, preprocessing, hard, rng) for _ in range(empty)]
            images = torch.cat([images, torch.from_numpy(np.stack(made)).to(device)])
            labels = torch.cat([labels, labels.new_zeros((empty, side, side))])
        wanted = targets(labels, preprocessing.pixel_size_nm)
        if drawing.randomise:
            images, wanted = seen_anew(images, wanted, drawing, preprocessing, chance)
        yield images[:, None].contiguous(memory_format=torch.channels_last), wanted
        step += 1


def _empty(
    side: int, drawing: Drawing, preprocessing: Preprocessing, hard: Hard | None, rng: np.random.Generator
) -> Image:
    """A standardised image (side, side) that holds nothing: one that the network marks, or a fresh one."""
    again = hard(rng) if hard is not None and rng.random() < drawing.hard else None
    if again is not None:
        return again
    marks = drawing.marks if drawing.randomise else 0.0
    return empty_image(side, drawing.kinds, preprocessing, marks, rng)


def _made(
    make: Callable[[int, np.random.Generator], Any], side: int, rng: np.random.Generator, device: str
) -> Laid:
    return lambda count: torch.from_numpy(np.stack([make(side, rng) for _ in range(count)])).to(device)


class Source(Protocol):
    """Where a training's examples come from."""

    @property
    def digest(self) -> str:
        """What its examples follow from; an interrupted training goes on only with the same."""

    @property
    def rates(self) -> dict[str, float]:
        """What it makes in a second, by name."""

    def batches(self, size: int, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless batches from a step on: images (B, 1, H, W) and targets (B, 2, H, W)."""

    def validation(self) -> Examples:
        """Images to validate by, of specimens that no batch is made of."""

    def told(self) -> dict[str, Any]:
        """What a bundle says of the examples."""


class DataSet:
    """The images of a data set as a training's examples."""

    def __init__(
        self,
        learn: Examples,
        check: Examples,
        drawing: Drawing,
        preprocessing: Preprocessing,
        seed: int,
        device: str,
    ) -> None:
        self._learn, self._check, self._drawing = learn, check, drawing
        self._preprocessing, self._seed, self._device = preprocessing, seed, device
        self.hard: Hard | None = None
        """Frames that hold nothing and that the network marks, where there are some."""

    @property
    def digest(self) -> str:
        """That of the data set."""
        return self._learn.digest

    @property
    def rates(self) -> dict[str, float]:
        """None: nothing is made."""
        return {}

    def batches(self, size: int, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless batches from a step on."""
        pool = Pool(self._learn, self._drawing.weights, self._drawing.faint)
        return batches(
            pool, self._drawing, self._preprocessing, size, self._seed, first_step, self._device, self.hard
        )

    def validation(self) -> Examples:
        """The data set's validation split."""
        return self._check

    def told(self) -> dict[str, Any]:
        """The data set's digest and how many images it has."""
        return {"digest": self.digest, "images": len(self._learn), "validation_images": len(self._check)}
