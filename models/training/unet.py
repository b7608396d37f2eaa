"""Train the U-Net: read top to bottom.

Examples come from a labelled data set (train and validation split by specimen) or from another source
(`models.examples.batches.Source`); a share of every batch is frames that hold nothing. The loss is cross-entropy plus
soft Dice for `particle`, cross-entropy for `core`, the inside of each particle by which touching ones are told apart.
The weights kept are a running average of the trained ones, at the step with the best score on the validation split
(`models.training.progress.score`). A checkpoint is written at every validation.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from models.examples.batches import DataSet, Drawing, Source
from models.examples.hard import HardEmpties
from models.examples.shards import examples_by_split
from models.preprocess import Preprocessing
from models.training.checkpoint import Run, weights_of
from models.training.keeping import first_network, freeze_statistics, kept_where_right
from models.training.own_frames import OwnFrame, as_examples
from models.training.progress import Validation, write_curves
from models.unet import Architecture, UNet

CHECKPOINT = "checkpoint.safetensors"
HARD_FIRST, HARD_LOOKED = 480, 160
"""Frames that are looked through for such as the network marks: at the beginning, and after each look."""
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
    """End after so many looks without a better score; 0: never."""
    average: float = 0.995
    """Decay of the running average of the weights."""
    keep: float = 0.0
    """Share that the first network's own output has in the targets where it is right (`models.training.keeping`)."""
    fixed_statistics: bool = False
    """Leave the running statistics of batch norm as the first weights have them."""
    fixed_levels: int = 0
    """Levels of the way down that do not learn, the stem with the first."""
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
) -> Tensor:
    """One step of the training on images (B, 1, H, W) and targets (B, 2, H, W); returns the loss, on the device."""
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
    return loss.detach()


class Learner:
    """A network in training: its weights, their running average, and how far it has come."""

    def __init__(self, settings: Settings, run: Run, device: str, start_from: Path | None) -> None:
        self.settings, self.run, self.device = settings, run, device
        self.net, self.averaged = _begun_with(settings.architecture, start_from, device)
        self.kept = first_network(self.net) if settings.keep > 0 else None
        if settings.fixed_levels:
            self.net.stem.requires_grad_(False)
            self.net.down[: settings.fixed_levels].requires_grad_(False)
        gpu = device == "cuda"
        if gpu:
            torch.backends.cudnn.benchmark = True
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            [p for p in self.net.parameters() if p.requires_grad],
            settings.learning_rate,
            weight_decay=1e-4,
            fused=gpu,
        )
        self.best = run.resume(self.net, self.averaged, self.optimiser)
        self._losses: list[Tensor] = []  # left on the device, so that a step is not waited for
        self._started = time.monotonic() - run.seconds

    def learn(self, batch: tuple[Tensor, Tensor]) -> None:
        """One step."""
        run, settings = self.run, self.settings
        self.net.train()
        if settings.fixed_statistics:
            freeze_statistics(self.net)
        if self.kept is not None:
            batch = kept_where_right(batch, self.kept, settings.keep, self.device, settings.bfloat16)
        self._losses.append(learn_from(batch, self.net, self.optimiser, run.place, settings, self.device))
        run.step += 1
        run.seconds = time.monotonic() - self._started
        _follow(self.averaged, self.net, min(settings.average, (1 + run.step) / (10 + run.step)))

    def look(self, check: Validation) -> dict[str, float]:
        """Figures of the validation split, and the weights kept where their score is the best; a checkpoint."""
        self._settle()
        figures = {"loss": float(np.mean(self.run.losses)), **check(self.averaged)}
        self.run.losses.clear()
        if self.run.look(figures):
            self.best = weights_of(self.averaged)
        self.save()
        write_curves(self.run.path.parent, self.run.curves)
        return figures

    def save(self) -> None:
        """Write the checkpoint."""
        self._settle()
        self.run.save(self.net, self.averaged, self.optimiser, self.best)

    def _settle(self) -> None:
        """Bring the losses from the device."""
        if self._losses:
            self.run.losses += torch.stack(self._losses).tolist()
            self._losses.clear()


def train(
    data: Path | Source,
    out: Path,
    settings: Settings,
    *,
    device: str = "cpu",
    limit: int | None = None,
    start_from: Path | None = None,
    real: Sequence[OwnFrame] = (),
) -> Path:
    """Train on a data set and leave `unet.safetensors`, `training.json`, `curves.csv` and `curves.png` in `out`.

    The same call goes on with what was interrupted. Ctrl-C, or a source that fails, keeps the step reached and the best
    weights so far.
    On a data set it is deterministic from the seed on one device. With `start_from`, a bundle or the folder of another
    training, it begins with those weights.

    Parameters
    ----------
    data : a data set's folder, or another source of examples.
    limit : read so many shards of each preset of a folder at the most.
    real : frames with their truth that are learnt from beside a data set's, as the preset `own`.

    Raises
    ------
    ModelError
        No usable data set, no such device, weights that do not fit, a checkpoint made with other settings, or a first
        network that is to be kept and is not given.
    """
    torch.manual_seed(settings.seed)
    refuse_device(device)
    if settings.keep > 0 and start_from is None:
        raise ModelError(
            "the first network's output can be kept only where a training begins with its weights"
        )
    out.mkdir(parents=True, exist_ok=True)
    source = _data_set(data, settings, limit, device, real) if isinstance(data, Path) else data
    run = Run(asdict(settings) | {"data": source.digest}, out / CHECKPOINT)
    learner = Learner(settings, run, device, start_from)
    try:
        if not run.done:
            _learn(learner, source)
    except (KeyboardInterrupt, ModelError):  # ModelError: the source can give no more
        if run.step > 0:
            learner.save()
            said = f"stopped at step {run.step}; the same command goes on from there"
            if run.curves:
                said += f"; the best weights so far are {_write(out, learner, source, start_from)}"
            tqdm.write(said, sys.stderr)
        raise
    return _write(out, learner, source, start_from)


def _learn(learner: Learner, source: Source) -> None:
    """Learn from a source until the steps are done, the time is spent, or there is no more progress."""
    run, settings = learner.run, learner.settings
    check = Validation(source.validation(), settings.preprocessing(), learner.device)
    look_for_hard = _hard_for(learner, source)
    batches = source.batches(settings.batch, run.step)
    begun, first = time.monotonic(), run.step
    told: dict[str, str] = {}
    with tqdm(total=settings.steps, initial=int(run.place), unit="step", disable=None) as bar:
        while not run.done and not run.stopped(settings.patience):
            batch = next(batches)
            with _whole():
                learner.learn(batch)
            if run.step % settings.round_steps == 0 or run.done:
                figures = learner.look(check)
                look_for_hard(HARD_LOOKED)
                told = {name: f"{figures[name]:.4f}" for name in ("score", "loss")}
            bar.update(int(run.place) - bar.n)
            rates = {**source.rates, "steps": (run.step - first) / (time.monotonic() - begun)}
            bar.set_postfix(
                told | {f"{name}/s": f"{rate:.3g}" for name, rate in rates.items()}, refresh=False
            )


def _hard_for(learner: Learner, source: Source) -> Callable[[int], object]:
    """What looks through so many frames for those that hold nothing and that the network marks.

    The source learns from them from then on; it has looked for some already.
    """
    settings = learner.settings
    if settings.drawing.hard <= 0:
        return lambda count: None
    if not isinstance(source, DataSet):
        raise ModelError("frames that the network marks are looked for only beside a data set")
    side = source.validation().images.shape[1]
    hard = HardEmpties(side, settings.drawing, settings.preprocessing(), settings.seed, learner.run.step)
    source.hard = hard.draw
    hard.look_for(learner.averaged, HARD_FIRST, learner.device)
    return lambda count: hard.look_for(learner.averaged, count, learner.device)


@contextmanager
def _whole() -> Iterator[None]:
    """Ctrl-C within the block takes effect at its end, so that no step is left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


def _data_set(
    data: Path, settings: Settings, limit: int | None, device: str, real: Sequence[OwnFrame]
) -> Source:
    learn, check = (examples_by_split(data, [split], limit) for split in ("train", "validation"))
    if real:
        learn = as_examples(real, settings.preprocessing(), learn)
    drawing = settings.drawing if settings.randomise else Drawing(settings.drawing.weights, randomise=False)
    return DataSet(learn, check, drawing, settings.preprocessing(), settings.seed, device)


def _write(out: Path, learner: Learner, source: Source, start_from: Path | None) -> Path:
    """Write the best weights and what is to be told of them; returns the weights' place."""
    save_file(learner.best, out / "unet.safetensors")
    told = {
        "started_from": sha256(weights).hexdigest() if (weights := _bytes_of(start_from)) else None,
        "data": source.told(),
        "seconds": round(learner.run.seconds, 1),
    }
    return _write_told(out, learner.settings, learner.run, told)


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
    pairs = list(zip(averaged.state_dict().values(), net.state_dict().values(), strict=True))
    moving = [(kept, now) for kept, now in pairs if kept.dtype.is_floating_point]
    torch._foreach_lerp_([kept for kept, _ in moving], [now for _, now in moving], 1 - decay)
    for kept, now in pairs:
        if not kept.dtype.is_floating_point:
            kept.copy_(now)


def refuse_device(device: str) -> None:
    """Refuse a device that is not there, before anything is made for it."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("there is no usable CUDA device; use --device cpu")


def _begun_with(architecture: Architecture, start_from: Path | None, device: str) -> tuple[UNet, UNet]:
    """A network and its running average, alike: new, or with the weights in a folder."""
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
