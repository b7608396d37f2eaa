"""Train the U-Net: read top to bottom.

Examples come from a labelled data set (train and validation split by specimen); a share of every batch is frames that
hold nothing. The loss is cross-entropy plus soft Dice for `particle`, cross-entropy for `core`, the inside of each
particle by which touching ones are told apart. The weights that count are a running average of the trained ones.
A checkpoint is written after every round, and training goes on from it.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.augment import NEGATIVES, burn_in, expose_again, turn_and_scale
from models.errors import ModelError
from models.preprocess import Preprocessing, standardise
from models.shards import Examples, examples_by_split
from models.unet import UNet

CORE_NM = 0.4
"""A pixel belongs to the core if it is further than this from its particle's border [nm]."""


@dataclass(frozen=True)
class Settings:
    """How the net is trained."""

    width: int = 24
    steps: int = 4000
    batch: int = 8
    learning_rate: float = 2e-3
    negatives: float = 0.12
    """Share of each batch that holds no particle at all."""
    round_steps: int = 200
    """Steps between two looks at the validation split."""
    average: float = 0.995
    """Decay of the running average of the weights."""
    seed: int = 1


def targets(labels: npt.NDArray[np.uint8], pixel_size_nm: float) -> npt.NDArray[np.float32]:
    """(H, W) labels → (2, H, W): inside any particle; further than `CORE_NM` from the border of one."""
    particle = (labels > 0).astype(np.float32)
    # A step between two labels is a border too; distances are taken inside what is left.
    border = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    inside = ((labels > 0) & ~border).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3) * pixel_size_nm
    return np.stack([particle, (distance > CORE_NM).astype(np.float32)])


def example(
    data: Examples, settings: Settings, preprocessing: Preprocessing, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """One augmented training example: standardised image (H, W), targets (2, H, W)."""
    if rng.random() < settings.negatives:
        size = data.images.shape[1]
        kind = list(NEGATIVES)[int(rng.integers(len(NEGATIVES)))]
        image, labels = NEGATIVES[kind](size, rng), np.zeros((size, size), np.uint8)
    else:
        i = int(rng.integers(len(data)))
        image, labels = turn_and_scale(data.images[i].astype(np.float32), data.labels[i], rng)
        image = expose_again(image, rng)
    if rng.random() < 0.04:
        image, labels = burn_in(image, labels, rng)
    image = standardise(image, preprocessing)
    # The frame's spread depends on what else is in view; the net must not rely on it.
    image = image * np.float32(np.exp(rng.normal(0, 0.15))) + np.float32(rng.normal(0, 0.1))
    return image, targets(labels, preprocessing.pixel_size_nm)


def batches(
    data: Examples, settings: Settings, preprocessing: Preprocessing, first_step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches from `first_step` on: each step's draw depends on the seed and its number alone."""
    step = first_step
    while True:
        rng = np.random.default_rng([settings.seed, step])
        drawn = [example(data, settings, preprocessing, rng) for _ in range(settings.batch)]
        images = torch.from_numpy(np.stack([d[0] for d in drawn]))[:, None]  # (B, 1, H, W)
        wanted = torch.from_numpy(np.stack([d[1] for d in drawn]))  # (B, 2, H, W)
        yield images.contiguous(memory_format=torch.channels_last), wanted
        step += 1


def loss_of(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of both outputs and soft Dice over the batch of `particle`."""
    cross = nn.functional.binary_cross_entropy_with_logits(logits, wanted)
    p, t = torch.sigmoid(logits[:, 0]), wanted[:, 0]
    dice = (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    return cross + 0.5 * (1 - dice)


@torch.no_grad()
def validate(net: UNet, data: Examples, preprocessing: Preprocessing, most: int = 400) -> dict[str, float]:
    """Pooled Dice of the validation split, and the false share of area on frames that hold nothing."""
    net.eval()
    device = next(net.parameters()).device
    both = overlap = 0.0
    chosen = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).astype(int))
    for start in range(0, len(chosen), 8):
        part = chosen[start : start + 8]
        images = np.stack([standardise(data.images[i].astype(np.float32), preprocessing) for i in part])
        marked = net(torch.from_numpy(images)[:, None].to(device))[:, 0].cpu().numpy() > 0
        truth = data.labels[part] > 0
        overlap += 2 * float((marked & truth).sum())
        both += float(marked.sum() + truth.sum())
    figures = {"dice": overlap / max(both, 1.0)}
    rng = np.random.default_rng(0)
    for kind, make in NEGATIVES.items():
        images = np.stack([standardise(make(256, rng), preprocessing) for _ in range(8)])
        figures[f"false_{kind}"] = float(
            (net(torch.from_numpy(images)[:, None].to(device))[:, 0] > 0).float().mean()
        )
    return figures


def train(
    data: Path,
    out: Path,
    settings: Settings,
    *,
    device: str = "cpu",
    limit: int | None = None,
    start_from: Path | None = None,
) -> Path:
    """Train on a data set and leave `unet.safetensors`, `training.json` and `curves.csv` in `out`.

    Ctrl-C keeps the last round; the same call goes on from there. Deterministic from the seed on one device. With
    `start_from`, a bundle or the folder of another training, it begins with those weights.

    Raises
    ------
    ModelError
        No usable data set, no such device, weights that do not fit, or a checkpoint made with other settings.
    """
    from tqdm import tqdm

    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("there is no usable CUDA device; use --device cpu")
    torch.manual_seed(settings.seed)
    out.mkdir(parents=True, exist_ok=True)
    preprocessing = Preprocessing()
    learn = examples_by_split(data, ["train"], limit)
    check = examples_by_split(data, ["validation"], limit)
    net = UNet(settings.width).to(device)
    if start_from is not None:
        _begin_with(net, start_from / "unet.safetensors")
    averaged = UNet(settings.width).to(device)
    averaged.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, settings.steps, pct_start=0.1
    )

    state_file, step, curves = out / "checkpoint.json", 0, []
    if state_file.exists():
        state = json.loads(state_file.read_text())
        if state["settings"] != asdict(settings):
            raise ModelError(f"{out} holds a training with other settings; choose another folder")
        step, curves = state["step"], state["curves"]
        net.load_state_dict(load_file(out / "net.safetensors"))
        averaged.load_state_dict(load_file(out / "average.safetensors"))
        _restore(optimiser, load_file(out / "optimiser.safetensors"))
        schedule.last_epoch = step - 1
        optimiser.step()
        schedule.step()

    source = batches(learn, settings, preprocessing, step)
    bar = tqdm(total=settings.steps, initial=step, unit="step", disable=None)
    losses: list[float] = []
    started = time.monotonic()
    while step < settings.steps:
        net.train()
        images, wanted = next(source)
        loss = loss_of(net(images.to(device)), wanted.to(device))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        step += 1
        decay = min(settings.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, now in zip(averaged.state_dict().values(), net.state_dict().values(), strict=True):
                if kept.dtype.is_floating_point:
                    kept.lerp_(now, 1 - decay)
                else:
                    kept.copy_(now)
        losses.append(float(loss.detach()))
        bar.update()
        if step % settings.round_steps == 0 or step == settings.steps:
            figures = validate(averaged, check, preprocessing)
            curves.append(
                {
                    "step": step,
                    "loss": float(np.mean(losses)),
                    "seconds": time.monotonic() - started,
                    **figures,
                }
            )
            losses.clear()
            bar.set_postfix(dice=f"{figures['dice']:.4f}", loss=f"{curves[-1]['loss']:.4f}")
            save_file(_contiguous(net.state_dict()), out / "net.safetensors")
            save_file(_contiguous(averaged.state_dict()), out / "average.safetensors")
            save_file(_contiguous(_flat(optimiser)), out / "optimiser.safetensors")
            state_file.write_text(json.dumps({"settings": asdict(settings), "step": step, "curves": curves}))
            _write_curves(out / "curves.csv", curves)
    bar.close()
    save_file(_contiguous(averaged.state_dict()), out / "unet.safetensors")
    (out / "training.json").write_text(
        json.dumps(
            {
                "settings": asdict(settings),
                "started_from": sha256(weights).hexdigest() if (weights := _bytes_of(start_from)) else None,
                "preprocessing": preprocessing.as_dict(),
                "data": {"digest": learn.digest, "images": len(learn), "validation_images": len(check)},
                "validation": curves[-1],
            },
            indent=2,
        )
    )
    return out / "unet.safetensors"


def _begin_with(net: UNet, weights: Path) -> None:
    try:
        net.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: a net of another shape
        said = " ".join(str(error).split())[:160]
        raise ModelError(f"{weights} can't be the beginning of a net of width {net.width}: {said}") from error


def _bytes_of(folder: Path | None) -> bytes:
    return (folder / "unet.safetensors").read_bytes() if folder else b""


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _flat(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's moments as named tensors, so that no pickled checkpoint is needed."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def _restore(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _write_curves(path: Path, curves: list[dict[str, float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(curves[0]))
        writer.writeheader()
        writer.writerows(curves)
