"""Blocks of fresh examples, the ring that keeps them, and batches from it."""

from __future__ import annotations

import torch
from torch import Tensor

from models.batched import Standardiser
from models.examples.batches import Drawing, exposed_anew, seen_anew, targets
from models.examples.chance import Chance
from models.examples.exposure import turn_and_scale
from models.preprocess import Preprocessing
from sim.dataset.make import CANONICAL_NM, TILE
from sim.dataset.presets import PRESETS
from sim.streaming.images import photographed
from sim.streaming.specimens import Drawn
from sim.streaming.waves import Ring, Waves

EMPTY_KEPT = 2000
"""Frames that hold nothing that are kept, at the most."""
LAID_KEPT = 256
"""Steps of the light, and stamps, that are kept."""


def tiles_of(preset: str) -> int:
    """Examples that one image of a preset's field gives."""
    return round(PRESETS[preset].recipe.side_nm / CANONICAL_NM / TILE) ** 2


class Maker:
    """Makes examples of the waves that it keeps.

    Parameters
    ----------
    block : examples made at a time.
    kept : examples that batches are drawn from.
    """

    def __init__(
        self, waves: Waves, drawing: Drawing, preprocessing: Preprocessing, block: int, kept: int, device: str
    ) -> None:
        self.waves, self.drawing, self.preprocessing = waves, drawing, preprocessing
        self._standardiser = Standardiser((TILE, TILE), preprocessing, device)
        self._images = Ring(max(kept, 2 * block), TILE, torch.half, device)
        self._targets = Ring(max(kept, 2 * block), TILE, torch.uint8, device)
        self._empty = Ring(min(EMPTY_KEPT, kept), TILE, torch.half, device)
        self._lights = Ring(LAID_KEPT, TILE, torch.half, device)
        self._stamps = Ring(LAID_KEPT, TILE, torch.uint8, device)
        self._empty_each = round(block * drawing.negatives)
        #: (side [nm], presets, their weights, fields in a block) of the narrow and of the wide fields.
        self._sides: list[tuple[float, list[str], list[float], int]] = []
        weights = {name: weight for name, weight in drawing.weights.items() if weight > 0}
        for side_nm in sorted({PRESETS[name].recipe.side_nm for name in weights}):
            names = [name for name in weights if PRESETS[name].recipe.side_nm == side_nm]
            share = sum(weights[name] for name in names) / sum(weights.values())
            count = max(1, round((block - self._empty_each) * share / tiles_of(names[0])))
            self._sides.append((side_nm, names, [weights[name] for name in names], count))
        self.simulated = sum(count * tiles_of(names[0]) for _, names, _, count in self._sides)
        """Examples of a block that are of specimens."""
        self.made = 0

    def take_in(self, drawn: Drawn) -> None:
        """Keep a specimen's exit wave, and what else came with it."""
        self.waves.add(drawn)
        for ring, images in (
            (self._empty, drawn.empty),
            (self._lights, drawn.lights),
            (self._stamps, drawn.stamps),
        ):
            ring.add(torch.from_numpy(images))

    @torch.no_grad()
    def make_block(self, chance: Chance) -> None:
        """Make a block of examples; images that are not finite (of a field without a single electron) are dropped."""
        drawing, made = self.drawing, []
        moved = turn_and_scale if drawing.randomise else None
        for side_nm, names, weights, count in self._sides:
            fields = self.waves.draw(names, weights, count, chance)
            made.append(photographed(fields, side_nm, chance, moved))
        images, labels = (torch.cat(parts) for parts in zip(*made, strict=True))
        if drawing.randomise:
            images, labels = exposed_anew(
                images,
                labels,
                drawing,
                chance,
                lambda count: self._lights.draw(count, chance).float(),
                lambda count: self._stamps.draw(count, chance),
            )
        images = self._standardiser(images)
        if self._empty_each:
            images = torch.cat([images, self._empty.draw(self._empty_each, chance).float()])
            labels = torch.cat([labels, labels.new_zeros((self._empty_each, TILE, TILE))])
        particle, core = targets(labels, self.preprocessing.pixel_size_nm).to(torch.uint8).unbind(1)
        usable = images.isfinite().all(2).all(1)
        self._images.add(images[usable])
        self._targets.add((particle + 2 * core)[usable])
        self.made += int(usable.sum())

    @torch.no_grad()
    def batch(self, size: int, chance: Chance) -> tuple[Tensor, Tensor]:
        """Images (B, 1, H, H) and targets (B, 2, H, H), turned together by quarters and mirrored.

        H is 256, or smaller where the batch is of small frames.
        """
        places = chance.integers(size, self._images.filled)
        images, bits = self._images.at(places).float(), self._targets.at(places)
        turns, flip = int(chance.integers(1, 4)), int(chance.integers(1, 2))
        images, bits = (stack.rot90(turns, (1, 2)) for stack in (images, bits))
        if flip:
            images, bits = images.flip(2), bits.flip(2)
        wanted = torch.stack([bits & 1, bits >> 1], 1).float()
        if self.drawing.randomise:
            images, wanted = seen_anew(images, wanted, self.drawing, self.preprocessing, chance)
        return images[:, None].contiguous(memory_format=torch.channels_last), wanted
