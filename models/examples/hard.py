"""Frames that hold nothing and that a network marks all the same: looked for, kept, and learnt from again."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import nn

from models.examples.augment import Image, empty_image
from models.examples.batches import Drawing
from models.preprocess import Preprocessing

KEPT = 800
"""Frames that are kept; the oldest go first."""
LOGIT = -1.0
"""From here on a pixel counts as marked: what a calibrated network marks begins near it."""
SHARE = 0.001
"""Share of a frame that is marked from which it is kept."""
AT_ONCE = 8


class HardEmpties:
    """Frames of the kinds of `models.examples.augment.NEGATIVES` of which a network marks more than `SHARE`.

    Parameters
    ----------
    side : of the frames [px].
    seed : they follow from it, from `begin`, and from the network that looks.
    begin : tells the frames after an interruption from those before.
    """

    def __init__(
        self, side: int, drawing: Drawing, preprocessing: Preprocessing, seed: int, begin: int = 0
    ) -> None:
        self.kept: deque[Image] = deque(maxlen=KEPT)
        self._side, self._drawing, self._preprocessing = side, drawing, preprocessing
        self._seed, self._begin, self._made = seed, begin, 0

    @torch.no_grad()
    def look_for(self, net: nn.Module, count: int, device: str) -> int:
        """Make so many frames and keep those that the network marks; returns how many these are."""
        net.eval()
        found = 0
        for first in range(0, count, AT_ONCE):
            made = np.stack([self._fresh() for _ in range(min(AT_ONCE, count - first))])
            marked = net(torch.from_numpy(made).to(device)[:, None])[:, 0] > LOGIT
            hard = (marked.float().mean((1, 2)) > SHARE).tolist()
            self.kept += [image for image, is_hard in zip(made, hard, strict=True) if is_hard]
            found += sum(hard)
        return found

    def _fresh(self) -> Image:
        self._made += 1
        rng = np.random.default_rng([self._seed, 23, self._begin, self._made])
        marks = self._drawing.marks if self._drawing.randomise else 0.0
        return empty_image(self._side, self._drawing.kinds, self._preprocessing, marks, rng)

    def draw(self, rng: np.random.Generator) -> Image | None:
        """One of those that are kept (side, side), in one of its eight symmetries; `None` where there is none."""
        if not self.kept:
            return None
        image = np.rot90(self.kept[int(rng.integers(len(self.kept)))], int(rng.integers(4)))
        return np.ascontiguousarray(image[:, ::-1] if rng.random() < 0.5 else image)
