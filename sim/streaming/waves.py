"""Exit waves kept on the device, the oldest replaced, and rings of images beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.examples.chance import Chance
from sim.optics.batched.multislice import Multislice, mass_thickness
from sim.optics.batched.parameters import Parameters
from sim.streaming.specimens import Drawn


@dataclass(frozen=True)
class Kept:
    """One exit wave and what its images need, on the device."""

    wave: Tensor
    """(gpts, gpts) complex."""
    gold_nm: Tensor
    """(gpts, gpts) mass thickness, in half precision."""
    labels: Tensor
    """(gpts, gpts) instances."""
    conditions: Tensor
    """(images, columns) of `Parameters`."""


@dataclass(frozen=True)
class Fields:
    """A batch of waves with conditions, ready to be imaged."""

    waves: Tensor
    gold_nm: Tensor
    labels: Tensor
    parameters: Parameters


class Waves:
    """Exit waves by preset; each preset keeps its share of the places, and its newest waves."""

    def __init__(self, places: int, shares: dict[str, float], gpts: int, device: str) -> None:
        self.gpts, self.device = gpts, device
        total = sum(shares.values())
        self._kept: dict[str, deque[Kept]] = {
            name: deque(maxlen=max(1, round(places * share / total))) for name, share in shares.items()
        }
        self._multislice = Multislice(gpts, device)

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._kept.values())

    @torch.no_grad()
    def exit_wave(self, drawn: Drawn) -> Kept:
        """The exit wave of a specimen."""
        positions, numbers, side_nm = drawn.positions, drawn.numbers, drawn.side_nm
        wave = self._multislice(positions, numbers, side_nm, drawn.height_nm, drawn.energy_kev)
        gold_nm = mass_thickness(positions, numbers, side_nm, self.gpts, self.device)
        labels = torch.from_numpy(drawn.labels).to(self.device)
        return Kept(wave, gold_nm.half(), labels, Parameters.of(drawn.conditions, self.device).table)

    def add(self, drawn: Drawn) -> None:
        """Keep the exit wave of a specimen in place of its preset's oldest, where there is no more room."""
        self._kept[drawn.preset].append(self.exit_wave(drawn))

    def draw(self, presets: Sequence[str], weights: Sequence[float], count: int, chance: Chance) -> Fields:
        """So many waves of these presets, each with one of its conditions."""
        cumulated = torch.tensor(weights, dtype=torch.float64).cumsum(0)
        drawn = chance.rand((count, 3)).double().cpu()
        which = torch.searchsorted(cumulated / cumulated[-1], drawn[:, 0].contiguous())
        chosen, rows = [], []
        for preset, (_, wave, row) in zip(which.tolist(), drawn.tolist(), strict=True):
            kept = self._kept[presets[preset]]
            one = kept[int(wave * len(kept))]
            chosen.append(one)
            rows.append(one.conditions[int(row * len(one.conditions))])
        return fields(chosen, torch.stack(rows))


def fields(chosen: Sequence[Kept], table: Tensor) -> Fields:
    """Waves together with a row of conditions for each."""
    return Fields(
        torch.stack([one.wave for one in chosen]),
        torch.stack([one.gold_nm for one in chosen]).float(),
        torch.stack([one.labels for one in chosen]),
        Parameters(table),
    )


class Ring:
    """So many images at the most, on one device; the oldest are replaced."""

    def __init__(self, places: int, side: int, dtype: torch.dtype, device: str) -> None:
        self._images = torch.zeros(places, side, side, dtype=dtype, device=device)
        self._next = self.filled = 0

    def add(self, images: Tensor) -> None:
        """Put images (N, side, side) in."""
        places = len(self._images)
        images = images[-places:]
        at = (torch.arange(len(images), device=self._images.device) + self._next) % places
        self._images[at] = images.to(self._images)
        self._next = (self._next + len(images)) % places
        self.filled = min(places, self.filled + len(images))

    def at(self, places: Tensor) -> Tensor:
        """The images at these places (N,), each below `filled`."""
        return self._images[places]

    def draw(self, count: int, chance: Chance) -> Tensor:
        """So many images, by chance."""
        return self.at(chance.integers(count, self.filled))
