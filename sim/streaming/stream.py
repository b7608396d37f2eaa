"""The source of a streaming training: every example is an exit wave imaged anew, or a frame that holds nothing.

Examples are made in blocks and kept in a ring, from which batches are drawn; each is learnt from `Streaming.uses` times
on the mean. New specimens are taken in as examples are made, one for every `Streaming.images` of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from models.errors import ModelError
from models.examples.batches import Drawing
from models.examples.chance import Chance
from models.examples.shards import Examples
from models.preprocess import Preprocessing
from sim.dataset.make import CANONICAL_NM, SLAB_SIDE_NM, slab_for
from sim.dataset.presets import PRESETS
from sim.streaming.examples import Maker, tiles_of
from sim.streaming.images import photographed
from sim.streaming.processes import Processes
from sim.streaming.specimens import Plan, missing_slabs
from sim.streaming.waves import Waves, fields

WIDE_SHARE = 0.6
"""Specimens of a wide field for one of a narrow field, where images of both come as often: a field gives four tiles."""
EMPTY = 8
"""Frames that hold nothing that come with each specimen."""
VALIDATION_IMAGES = 4
"""Images of each specimen to validate by, each under its own conditions."""
MADE = "made.json"
"""In the folder: how many specimens and examples were made, over all interruptions."""


@dataclass(frozen=True)
class Streaming:
    """How examples are streamed."""

    seed: int = 1
    waves: int = 256
    """Exit waves kept; 2.8 MB each."""
    first: int = 16
    """Waves that are there before the first batch."""
    images: float = 70.0
    """Simulated examples made for each specimen, on the mean."""
    block: int = 40
    """Examples made at a time."""
    kept: int = 400
    """Examples that batches are drawn from; 0.2 MB each."""
    uses: float = 3.0
    """How often each example is learnt from, on the mean."""
    validation: int = 20
    """Specimens to validate by, where there is no data set for it."""
    steady: bool = True
    """Wait for specimens, so that the same seed gives the same batches; `False`: learn on from those that are there."""
    gpts: int = 512
    """Side of the exit waves [px]."""

    @classmethod
    def on(cls, device: str, seed: int) -> Streaming:
        """For a device: on a GPU up to 40,000 examples and 4,000 waves, as far as half of its free memory goes."""
        if device == "cpu":
            return cls(seed)
        free = torch.cuda.mem_get_info()[0]
        share = min(1.0, free / 2 / (4000 * 2.8e6 + 40000 * 0.2e6))
        waves, kept = int(4000 * share), int(40000 * share)
        return cls(seed, waves, min(300, waves), block=200, kept=kept, steady=False)


class Stream:
    """Streamed examples; use it as a context, or close it, so that its processes end.

    Parameters
    ----------
    folder : keeps the slabs of carbon, and the count of what was made.
    processes : that draw specimens.
    check : images to validate by; without them they are made of specimens of their own.
    """

    def __init__(
        self,
        settings: Streaming,
        folder: Path,
        *,
        drawing: Drawing | None = None,
        preprocessing: Preprocessing | None = None,
        device: str = "cpu",
        processes: int = 1,
        check: Examples | None = None,
    ) -> None:
        self.settings, self.folder, self.device = settings, folder, device
        self.drawing, self.preprocessing = drawing or Drawing(), preprocessing or Preprocessing()
        self._count, self._check = processes, check
        unknown = set(self.drawing.weights) - set(PRESETS)
        if unknown:
            raise ModelError(f"no preset {', '.join(sorted(unknown))}; there are {', '.join(PRESETS)}")
        self._shares = {
            name: weight * (1.0 if tiles_of(name) == 1 else WIDE_SHARE)
            for name, weight in self.drawing.weights.items()
            if weight > 0
        }
        self._checked_by = check.digest if check else None
        self._open: list[Processes] = []
        self._began = time.monotonic()
        self._made = {"specimens": 0, "examples": 0}
        self._at_first = dict(self._made)
        self._before = self._read_made()

    @property
    def digest(self) -> str:
        """The settings that its examples follow from."""
        plain = asdict(replace(self.settings, waves=0, kept=0, first=0, steady=True))
        return json.dumps({"streamed": plain, "validation": self._checked_by}, sort_keys=True)

    @property
    def rates(self) -> dict[str, float]:
        """Specimens and examples made in a second."""
        seconds = max(1e-9, time.monotonic() - self._began)
        return {name: (number - self._at_first[name]) / seconds for name, number in self._made.items()}

    def told(self) -> dict[str, Any]:
        """The settings, and how many specimens and examples were made of them."""
        return {"streamed": asdict(self.settings), **self._total(), "digest": self.digest}

    def validation(self) -> Examples:
        """Images of specimens whose seeds and carbon are kept apart from those that are learnt from."""
        if self._check is None:
            self._check = self._validation_images()
        return self._check

    @torch.no_grad()
    def _validation_images(self) -> Examples:
        many, seed = self.settings.validation, self.settings.seed
        plan = replace(self._plan("validation", (seed,)), images=VALIDATION_IMAGES, empty=0)
        waves = Waves(1, self._shares, self.settings.gpts, self.device)
        images, labels, about = [], [], []
        digest = self.digest
        with self._processes(plan, many) as processes:
            for drawn in tqdm(processes, "specimens to validate by", many, unit="", disable=None):
                kept = waves.exit_wave(drawn)
                batch = fields([kept] * len(kept.conditions), kept.conditions)
                taken, truth = photographed(
                    batch, drawn.side_nm, Chance([seed, 3, drawn.number], self.device)
                )
                images.append(taken.half().cpu().numpy())
                labels.append(truth.cpu().numpy())
                told = {"specimen": f"{drawn.preset}-{seed}-{drawn.number}", "split": "validation"}
                about += [told | {"carbon_nm": drawn.carbon_nm}] * len(taken)
        return Examples(np.concatenate(images), np.concatenate(labels), about, CANONICAL_NM, digest)

    def batches(self, size: int, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless batches from a step on: images (B, 1, 256, 256) and targets (B, 2, 256, 256).

        One that begins at a later step draws other specimens than one that began before it.
        """
        s, device = self.settings, self.device
        plan = self._plan("train", (s.seed, first_step))
        waves = Waves(s.waves, self._shares, s.gpts, device)
        maker = Maker(waves, self.drawing, self.preprocessing, s.block, s.kept, device)
        start = max(1, s.kept // 10 // s.block)
        with self._processes(plan, None) as processes:
            for _ in tqdm(range(max(s.first, len(self._shares))), "first specimens", unit="", disable=None):
                self._take_in(processes, maker, True)
            self._began, self._at_first = time.monotonic(), dict(self._made)
            begun = block = _due(first_step, size, s)
            taken = 0
            for step in count(first_step):
                while block < start + _due(step, size, s):
                    maker.make_block(Chance([s.seed, 1, block], device))
                    block += 1
                    self._made["examples"] = maker.made
                    while taken < (block - begun) * maker.simulated / s.images:
                        if not self._take_in(processes, maker, s.steady):
                            break
                        taken += 1
                yield maker.batch(size, Chance([s.seed, 2, step], device))

    def _take_in(self, processes: Processes, maker: Maker, wait: bool) -> bool:
        drawn = processes.take(wait)
        if drawn is None:
            return False
        maker.take_in(drawn)
        self._made["specimens"] += 1
        return True

    def _plan(self, split: str, seed: tuple[int, ...]) -> Plan:
        drawing = self.drawing
        marks = drawing.marks if drawing.randomise else 0.0
        return Plan(
            self.folder, seed, split, self._shares, self.settings.gpts,
            empty=EMPTY if drawing.negatives > 0 else 0, kinds=drawing.kinds, marks=marks,
            preprocessing=self.preprocessing,
        )  # fmt: skip

    def _processes(self, plan: Plan, end: int | None) -> Processes:
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = list(missing_slabs(self.folder, (plan.split,)))
        if missing:
            side_nm, seed = SLAB_SIDE_NM, self.settings.seed
            with ProcessPoolExecutor(min(self._count, len(missing)), get_context("spawn")) as pool:
                making = [pool.submit(slab_for, self.folder, side_nm, seed, *which) for which in missing]
                for slab in tqdm(making, "films of carbon", unit="", disable=None):
                    slab.result()
        opened = Processes(plan, self._count, end=end)
        self._open.append(opened)
        return opened

    def _total(self) -> dict[str, int]:
        """What was made, interruptions included."""
        return {name: number + self._before[name] for name, number in self._made.items()}

    def _read_made(self) -> dict[str, int]:
        try:
            return {name: int(json.loads((self.folder / MADE).read_text())[name]) for name in self._made}
        except (OSError, ValueError, KeyError):
            return dict.fromkeys(self._made, 0)

    def close(self) -> None:
        """End the processes."""
        for processes in self._open:
            processes.close()
        if self.folder.is_dir():
            (self.folder / MADE).write_text(json.dumps(self._total()))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _due(step: int, size: int, settings: Streaming) -> int:
    """Blocks by which examples have been used up, on the mean, before a step with batches of a size."""
    return int(step * size / (settings.uses * settings.block))
