"""The checkpoint of a training: one file, replaced as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.errors import ModelError
from models.training.progress import Figures
from models.unet import UNet


def weights_of(net: UNet) -> dict[str, Tensor]:
    """A copy of a network's weights on the CPU."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in net.state_dict().items()}


class Run:
    """How far a training has come, kept in one file that is replaced whole.

    Raises
    ------
    ModelError
        The file belongs to a training with other settings or data, or is damaged.
    """

    def __init__(self, order: dict[str, Any], path: Path) -> None:
        self.order, self.path = json.loads(json.dumps(order)), path
        self.step = 0
        self.seconds = 0.0
        """Spent on it so far, those before an interruption included [s]."""
        self.losses: list[float] = []
        """Of the steps since the last look."""
        self.curves: list[Figures] = []

    @property
    def place(self) -> float:
        """How far it has come, in steps; with a time budget the share of it that is spent, times the steps."""
        minutes, steps = self.order.get("minutes"), self.order["steps"]
        return float(self.step if minutes is None else min(steps, steps * self.seconds / (60 * minutes)))

    @property
    def done(self) -> bool:
        """Whether all steps are done, or the time is spent."""
        return bool(self.place >= self.order["steps"])

    def look(self, figures: Figures) -> bool:
        """Keep the validation figures of this step; returns whether their score is the best so far."""
        self.curves.append({"step": self.step, **figures})
        return figures["score"] >= max(row["score"] for row in self.curves)

    def stopped(self, patience: int) -> bool:
        """Whether the last `patience` looks brought no better score than one before them; 0: never."""
        scores = [row["score"] for row in self.curves]
        return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])

    def resume(self, net: UNet, averaged: UNet, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Bring everything to where the file has it, if it is there; returns the best weights so far."""
        if not self.path.exists():
            return weights_of(averaged)
        try:
            with safe_open(self.path, "pt") as file:
                state = json.loads((file.metadata() or {})["state"])
            tensors = load_file(self.path)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ModelError(f"{self.path} is damaged ({error}); remove it to begin again") from error
        if state["order"] != self.order:
            raise ModelError(
                f"{self.path.parent} holds a training with other settings or data; choose another folder"
            )
        self.step, self.curves = state["step"], state["curves"]
        self.seconds, self.losses = state.get("seconds", 0.0), state.get("losses", [])
        net.load_state_dict(_part(tensors, "net"))
        averaged.load_state_dict(_part(tensors, "average"))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _part(tensors, "optimiser").items():
            number, name = key.split(".", 1)
            moments.setdefault(int(number), {})[name] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
        return _part(tensors, "best")

    def save(
        self, net: UNet, averaged: UNet, optimiser: torch.optim.Optimizer, best: dict[str, Tensor]
    ) -> None:
        """Write the file; the moments are named tensors, so that nothing has to be unpickled."""
        moments = {
            f"{number}.{name}": torch.as_tensor(value)
            for number, state in optimiser.state_dict()["state"].items()
            for name, value in state.items()
        }
        parts = {"net": weights_of(net), "average": weights_of(averaged), "optimiser": moments, "best": best}
        tensors = {
            f"{part}/{name}": tensor.detach().cpu().contiguous().clone()
            for part, named in parts.items()
            for name, tensor in named.items()
        }
        told = ("order", "step", "seconds", "losses", "curves")
        state = json.dumps({name: getattr(self, name) for name in told})
        partial = self.path.with_suffix(".partial")
        save_file(tensors, partial, {"state": state})
        partial.replace(self.path)


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}
