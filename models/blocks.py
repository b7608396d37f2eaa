"""Frames too large to be judged in one piece: overlapping blocks, each particle taken from the block that owns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.quality.frame import Quality, of_blocks
from models.results import Analysis, Particle

LARGEST = 3600
"""A frame whose sides are at most so long at canonical sampling is judged whole: 180 nm at 0.05 nm/px [px].

Beyond, the memory that one frame takes would grow without bound: 1.7 GB at this size."""
BLOCK = 2600
"""Side of a block at canonical sampling [px]."""
OVERLAP = 320
"""Two blocks share so much: a particle of up to 16 nm is whole in one of them [px]."""


@dataclass(frozen=True)
class Block:
    """A part of a frame, and the part of it whose particles it owns; all in the frame's own pixels."""

    rows: slice
    cols: slice
    own_rows: tuple[float, float]
    own_cols: tuple[float, float]

    def owns(self, particle: Particle) -> bool:
        """Whether the particle's centre, in the block's own coordinates, lies in the part that the block owns."""
        row, col = particle.centroid[0] + self.rows.start, particle.centroid[1] + self.cols.start
        inside = self.own_rows[0] <= row < self.own_rows[1] and self.own_cols[0] <= col < self.own_cols[1]
        return bool(inside)


def _along(length: int, block: float, overlap: float) -> list[tuple[slice, tuple[float, float]]]:
    """Blocks along one side: (extent, owned range), the owned ranges covering the side without gap or overlap."""
    count = max(1, int(np.ceil((length - overlap) / (block - overlap))))
    size = (length + (count - 1) * overlap) / count
    starts = [i * (size - overlap) for i in range(count)]
    borders = [-np.inf, *(start + overlap / 2 for start in starts[1:]), np.inf]
    return [
        (slice(round(start), min(length, round(start + size))), (borders[i], borders[i + 1]))
        for i, start in enumerate(starts)
    ]


def blocks_of(shape: tuple[int, int], scale: float) -> list[Block]:
    """The blocks of a frame (H, W) at `scale` canonical pixels per frame pixel; a single one if it is small enough."""
    if max(shape) * scale <= LARGEST:
        whole = (-np.inf, np.inf)
        return [Block(slice(0, shape[0]), slice(0, shape[1]), whole, whole)]
    along = [_along(n, BLOCK / scale, OVERLAP / scale) for n in shape]
    return [Block(rows, cols, own_r, own_c) for rows, own_r in along[0] for cols, own_c in along[1]]


def analyse_in_blocks(
    image: npt.NDArray[Any], blocks: list[Block], judge: Callable[[npt.NDArray[Any]], Analysis]
) -> Analysis:
    """Judge every block of a frame (H, W) and put the analyses together.

    Quality is the mean of the blocks' figures, timings are sums. A particle larger than the overlap that lies across a
    border is cut there.
    """
    labels = np.zeros(image.shape, np.int32)
    particles: list[Particle] = []
    timings: dict[str, float] = {}
    first: Analysis | None = None
    qualities: list[Quality] = []
    for block in blocks:
        part = judge(image[block.rows, block.cols])
        first = first or replace(part, labels=None)
        qualities.append(part.quality)
        for stage, ms in part.timings_ms.items():
            timings[stage] = timings.get(stage, 0.0) + ms
        here = labels[block.rows, block.cols]
        for particle in part.particles:
            if block.owns(particle):
                particles.append(_moved(particle, block, len(particles) + 1))
                if part.labels is not None:
                    r0, c0, r1, c1 = particle.bbox
                    free = here[r0:r1, c0:c1]
                    free[(part.labels[r0:r1, c0:c1] == particle.label) & (free == 0)] = len(particles)
    assert first is not None
    return replace(
        first,
        quality=of_blocks(qualities),
        shape=(image.shape[0], image.shape[1]),
        particles=tuple(particles),
        timings_ms=timings,
        labels=labels,
    )


def _moved(particle: Particle, block: Block, label: int) -> Particle:
    top, left = block.rows.start, block.cols.start
    r0, c0, r1, c1 = particle.bbox
    return replace(
        particle,
        label=label,
        bbox=(r0 + top, c0 + left, r1 + top, c1 + left),
        centroid=(particle.centroid[0] + top, particle.centroid[1] + left),
        outline=tuple((r + top, c + left) for r, c in particle.outline),
    )
