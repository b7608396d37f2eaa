"""Train the U-Net: read top to bottom.

Examples come from a labelled data set (train and validation split by specimen); a share of every batch is frames that
hold nothing. The loss is cross-entropy plus soft Dice for `particle`, cross-entropy for `core`, the inside of each
particle by which touching ones are told apart. The weights kept are a running average of the trained ones, at the step
with the best score on the validation split (`models.training.progress.score`). A checkpoint is written at every
validation.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from models.errors import ModelError
from models.examples.batches import Drawing, Pool, batches
from models.examples.shards import examples_by_split
from models.preprocess import Preprocessing
from models.training.checkpoint import Run, weights_of
from models.training.progress import validate, write_curves
from models.unet import Architecture, UNet

CHECKPOINT = "checkpoint.safetensors"
BORDER_PX = 3
"""Pixels so near to a particle's outline weigh more, where `Settings.boundary` says so [px]."""


@dataclass(frozen=True)
class Settings:
    """How the net is trained."""

    architecture: Architecture = field(default_factory=Architecture)
    steps: int = 4000
    minutes: float | None = None
    """Train for this long instead of for `steps`: the learning rate follows the time, looks are as many steps apart."""
    batch: int = 8
    learning_rate: float = 2e-3
    """The largest; it rises over the first twentieth of the steps and falls as a cosine afterwards."""
    boundary: float = 0.0
    """By how much more pixels at an outline weigh in the cross-entropy."""
    round_steps: int = 200
    """Steps between two looks at the validation split."""
    patience: int = 10
    """End after so many looks without a better score."""
    average: float = 0.995
    """Decay of the running average of the weights."""
    drawing: Drawing = field(default_factory=Drawing)
    randomise: bool = True
    """`False`: images are learnt as they are, to see what randomisation is worth."""
    preprocess: bool = True
    """`False`: frames are only brought to zero mean and unit variance, to see what the flat field is worth."""
    bfloat16: bool = False
    """Multiply in bfloat16 (weights and losses stay in single precision): quicker where the hardware knows it."""
    seed: int = 1

    def preprocessing(self) -> Preprocessing:
        """The steps before the net."""
        return Preprocessing() if self.preprocess else Preprocessing(surface_order=0, noise_order=0)


def learning_rate(step: float, settings: Settings) -> float:
    """Of a step (or of the share of a time budget, in steps): a linear rise, then half a cosine down to a hundredth."""
    rise = max(1, settings.steps // 20)
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    done = (step - rise) / max(1, settings.steps - rise)
    return settings.learning_rate * (0.01 + 0.99 * (0.5 + 0.5 * cos(pi * done)))


def loss_of(logits: Tensor, wanted: Tensor, boundary: float = 0.0) -> Tensor:
    """Cross-entropy of both outputs and soft Dice over the batch of `particle`; logits and targets (B, 2, H, W)."""
    weight = None
    if boundary > 0:
        side = 2 * BORDER_PX + 1
        wide = nn.functional.max_pool2d(wanted[:, :1], side, stride=1, padding=BORDER_PX)
        narrow = -nn.functional.max_pool2d(-wanted[:, :1], side, stride=1, padding=BORDER_PX)
        weight = 1 + boundary * (wide - narrow)  # (B, 1, H, W)
    cross = nn.functional.binary_cross_entropy_with_logits(logits, wanted, weight)
    p, t = torch.sigmoid(logits[:, 0]), wanted[:, 0]
    dice = (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    return cross + 0.5 * (1 - dice)


def learn_from(
    batch: tuple[Tensor, Tensor],
    net: UNet,
    optimiser: torch.optim.Optimizer,
    step: float,
    settings: Settings,
    device: str,
) -> float:
    """One step of the training on images (B, 1, H, W) and targets (B, 2, H, W); returns the loss."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, settings)
    images, wanted = batch
    with torch.autocast(device, torch.bfloat16, enabled=settings.bfloat16):
        logits = net(images.to(device))
    loss = loss_of(logits.float(), wanted.to(device), settings.boundary)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def train(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    device: str = "cpu",
    limit: int | None = None,
    start_from: Path | None = None,
) -> Path:
    """Train on a data set and leave `unet.safetensors`, `training.json`, `curves.csv` and `curves.png` in `out`.

    Ctrl-C keeps the last look; the same call goes on from there. Deterministic from the seed on one device. With
    `start_from`, a bundle or the folder of another training, it begins with those weights.

    Parameters
    ----------
    limit : so many shards of each preset at the most.

    Raises
    ------
    ModelError
        No usable data set, no such device, weights that do not fit, or a checkpoint made with other settings.
    """
    torch.manual_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    preprocessing = settings.preprocessing()
    learn, check = (examples_by_split(data, [split], limit) for split in ("train", "validation"))
    net, averaged = _begun_with(settings.architecture, start_from, device)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=1e-4)
    begun = Run(asdict(settings) | {"data": learn.digest}, out / CHECKPOINT)
    best = begun.resume(net, averaged, optimiser)

    drawing = settings.drawing if settings.randomise else Drawing(settings.drawing.weights, randomise=False)
    pool = Pool(learn, drawing.weights)
    source = batches(pool, drawing, preprocessing, settings.batch, settings.seed, begun.step)
    losses: list[float] = []
    started = time.monotonic() - begun.seconds
    with tqdm(total=settings.steps, initial=int(begun.place), unit="step", disable=None) as bar:
        while not begun.done and not begun.stopped(settings.patience):
            net.train()
            losses.append(learn_from(next(source), net, optimiser, begun.place, settings, device))
            begun.step += 1
            begun.seconds = time.monotonic() - started
            _follow(averaged, net, min(settings.average, (1 + begun.step) / (10 + begun.step)))
            bar.update(int(begun.place) - bar.n)
            if begun.step % settings.round_steps == 0 or begun.done:
                figures = {"loss": float(np.mean(losses)), **validate(averaged, check, preprocessing)}
                losses.clear()
                if begun.look(figures):
                    best = weights_of(averaged)
                bar.set_postfix(score=f"{figures['score']:.4f}", loss=f"{figures['loss']:.4f}")
                begun.save(net, averaged, optimiser, best)
                write_curves(out, begun.curves)
    save_file(best, out / "unet.safetensors")
    told = {
        "started_from": sha256(weights).hexdigest() if (weights := _bytes_of(start_from)) else None,
        "data": {"digest": learn.digest, "images": len(learn), "validation_images": len(check)},
        "seconds": round(begun.seconds, 1),
    }
    return _write_told(out, settings, begun, told)


def _write_told(out: Path, settings: Settings, done: Run, told: dict[str, Any]) -> Path:
    """Write `training.json`, what a bundle says of how its network was trained; returns the weights' place."""
    everything = {
        "architecture": settings.architecture.as_dict(),
        "settings": asdict(settings),
        "preprocessing": settings.preprocessing().as_dict(),
        "steps": done.step,
        "validation": max(done.curves, key=lambda row: row["score"]),
        **told,
    }
    (out / "training.json").write_text(json.dumps(everything, indent=2))
    return out / "unet.safetensors"


@torch.no_grad()
def _follow(averaged: UNet, net: UNet, decay: float) -> None:
    """Move the running average towards the weights; counters are copied."""
    for kept, now in zip(averaged.state_dict().values(), net.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


def _begun_with(architecture: Architecture, start_from: Path | None, device: str) -> tuple[UNet, UNet]:
    """A network and its running average, alike: new, or with the weights in a folder."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("there is no usable CUDA device; use --device cpu")
    net, averaged = UNet(architecture).to(device), UNet(architecture).to(device)
    if start_from is not None:
        _load_weights(net, start_from / "unet.safetensors")
    averaged.load_state_dict(net.state_dict())
    return net, averaged


def _load_weights(net: UNet, weights: Path) -> None:
    try:
        net.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: a net of another shape
        said = " ".join(str(error).split())[:160]
        raise ModelError(f"{weights} can't be the beginning of such a net: {said}") from error


def _bytes_of(folder: Path | None) -> bytes:
    return (folder / "unet.safetensors").read_bytes() if folder else b""
