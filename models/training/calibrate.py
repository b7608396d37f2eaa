"""Calibrate the network's probabilities: `python -m models.training.calibrate --bundle B --data D --out O`.

For each output a rising straight line of the logit (Platt 1999) is fitted on the validation split, by the least log
loss over all pixels; the threshold from which a pixel is marked is the one with the largest pooled Dice there. Both
need only how many pixels of each logit lay inside, so the images are seen once and nothing but counts is kept.

With `--unet` the bundle takes the network of another training, or weights between that and its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle, load_bundle, torch_network
from models.errors import ModelError
from models.evaluation.judge import Judge, choose
from models.examples.shards import Examples, examples_by_split
from models.segment import Calibration, Image, Segmentation
from models.training.derive import derive, training_of
from models.unet import architecture_of

REACH = 30.0
"""Logits beyond ± this are counted as this."""
CELLS = 3000
"""Cells of the counts, each 0.02 wide."""


@dataclass
class Counts:
    """How many pixels had which logit, and how many of them lay inside, for one output."""

    outside: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(CELLS))
    inside: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(CELLS))

    @property
    def logits(self) -> npt.NDArray[np.float64]:
        """(CELLS,) middle of each cell."""
        return np.linspace(-REACH, REACH, CELLS, endpoint=False, dtype=np.float64) + REACH / CELLS

    def add(self, logits: Image, truth: npt.NDArray[np.bool_]) -> None:
        """Count an image's pixels in; both (H, W)."""
        cell = np.clip((logits + REACH) * (CELLS / (2 * REACH)), 0, CELLS - 1).astype(np.int64).ravel()
        every, within = np.bincount(cell, minlength=CELLS), np.bincount(cell, truth.ravel(), CELLS)
        self.inside += within
        self.outside += every - within

    def log_loss(self, scale: float, bias: float) -> float:
        """Mean log loss of σ(scale · logit + bias) [nats a pixel]."""
        z = scale * self.logits + bias
        loss = (self.inside * np.logaddexp(0, -z)).sum() + (self.outside * np.logaddexp(0, z)).sum()
        return float(loss / (self.inside.sum() + self.outside.sum()))

    def line(self) -> tuple[float, float]:
        """(scale, bias) of the least log loss, by Newton's method: the loss is convex.

        Raises
        ------
        ModelError
            All pixels lie on one side, or higher logits are not likelier to be inside.
        """
        n, z = self.inside + self.outside, self.logits
        if not self.inside.sum() or not self.outside.sum():
            raise ModelError("a calibration needs pixels inside particles and outside")
        design = np.stack([z, np.ones(CELLS)])
        found = np.array([1.0, 0.0])
        for _ in range(100):
            p = 1 / (1 + np.exp(-np.clip(found @ design, -50, 50)))
            slope = design @ (n * p - self.inside)
            bend = (design * (n * p * (1 - p))) @ design.T + 1e-9 * np.eye(2)
            step = np.linalg.solve(bend, slope)
            # Shortened until it helps, so that a far start cannot overshoot.
            before = self.log_loss(*found)
            while self.log_loss(*(found - step)) > before + 1e-12 and np.abs(step).max() > 1e-9:
                step /= 2
            found = found - step
            if np.abs(step).max() < 1e-7:
                break
        scale, bias = float(found[0]), float(found[1])
        if scale <= 0:
            raise ModelError("the network's logits fall where they should rise; it can't be calibrated")
        return scale, bias

    def best_threshold(self, scale: float, bias: float) -> float:
        """The calibrated probability, to a hundredth, from which marking gives the largest pooled Dice."""
        p = 1 / (1 + np.exp(-(scale * self.logits + bias)))
        levels = np.arange(5, 96) / 100
        marked = p[None, :] > levels[:, None]
        overlap, falsely = marked @ self.inside, marked @ self.outside
        score = 2 * overlap / (overlap + falsely + self.inside.sum())
        return float(levels[np.flatnonzero(score >= score.max() - 1e-6)].mean().round(2))


@dataclass(frozen=True)
class Fit:
    """What was fitted and what it does on the images it was fitted on."""

    calibration: Calibration
    threshold: float
    log_loss: tuple[float, float]
    """Of `particle`, before and after [nats a pixel]."""
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **self.calibration.as_dict(),
            "threshold": self.threshold,
            "log_loss": list(self.log_loss),
            "images": self.images,
        }


def fit(by: Judge, data: Examples, chosen: Iterable[int]) -> Fit:
    """Calibrate a network on the chosen images.

    Parameters
    ----------
    by : with the network's own logits: a calibration that it has already is undone.

    Raises
    ------
    ModelError
        The images hold no particle, or the network knows nothing of them.
    """
    import torch

    from models.examples.batches import targets

    particle, core = Counts(), Counts()
    images = 0
    for i in chosen:
        raw = by.calibration.undone(by.logits(data.images[i])[1])
        wanted = targets(torch.from_numpy(data.labels[i][None]), by.pixel_size_nm)[0].numpy() > 0.5
        particle.add(raw[0], wanted[0])
        core.add(raw[1], wanted[1])
        images += 1
    lines = particle.line(), core.line()
    return Fit(
        Calibration((lines[0][0], lines[1][0]), (lines[0][1], lines[1][1])),
        particle.best_threshold(*lines[0]),
        (particle.log_loss(1, 0), particle.log_loss(*lines[0])),
        images,
    )


def calibrate(
    bundle: Path | None,
    data: Path,
    out: Path,
    most: int = 1000,
    seed: int = 0,
    *,
    unet: Path | None = None,
    share: float = 1.0,
) -> Fit:
    """Calibrate a bundle on the validation split of a data set, as a new version of it in `out`.

    Parameters
    ----------
    unet : folder of a training that began with the bundle's network; its weights take that one's place. The forest is
        the bundle's still, and is to be grown anew (`models.training.forest.regrow`).
    share : of the way from the bundle's weights to those (`models.training.keeping.between`).

    Raises
    ------
    BundleRefused, ModelError
        No such bundle, network or data set, a network of another shape, or something is in the way at `out`.
    """
    from tqdm import tqdm

    from models.evaluation.evaluate import judge_of

    loaded = load_bundle(bundle, "cpu")
    check = examples_by_split(data, ["validation"])
    chosen = choose(check, most, seed)
    with TemporaryDirectory() as working:
        by, changed = judge_of(loaded), dict[str, Any]()
        if unet is not None:
            by, changed = _with_network(loaded, unet, share, Path(working))
        found = fit(by, check, tqdm(chosen, unit="image", disable=None))
        settings: Segmentation = replace(loaded.segmentation, threshold=found.threshold)
        made_by = {"made_by": "calibration", "data": check.digest, "seed": seed, **found.as_dict()}
        derive(
            loaded.path, out, provenance=made_by, calibration=found.calibration, segmentation=settings,
            **changed,
        )  # fmt: skip
    return found


def _with_network(loaded: Bundle, unet: Path, share: float, working: Path) -> tuple[Judge, dict[str, Any]]:
    """A judge with weights a share of the way to those of another training, and what `derive` is to change."""
    from safetensors.torch import load_file, save_file

    from models.training.keeping import between

    training, told = training_of(unet), loaded.details["unet"]
    architecture = architecture_of(told)
    if architecture_of(training) != architecture:
        raise ModelError(f"the network of {unet} has another shape than that of {loaded.id}")
    weights = working / "unet.safetensors"
    first, learnt = (load_file(folder / weights.name) for folder in (loaded.path, unet))
    save_file(between(first, learnt, share), weights)
    by = Judge(torch_network(working, architecture, "cpu"), loaded.preprocessing, loaded.segmentation)
    training = {**training, "share_of_the_way": share, "before": told["training"]}
    return by, {"unet_weights": weights, "figures": {"unet": {**told, "training": training}}}


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.calibrate", description="Calibrate a bundle."
    )
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="the model (the shipped one)")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="its validation split is used"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="the new version")
    parser.add_argument(
        "--unet",
        type=Path,
        metavar="DIR",
        help="folder of a training that began with its network, to take that from",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        metavar="S",
        help="of the way from its weights to those of --unet (1)",
    )
    parser.add_argument("--images", type=int, default=1000, help="look at so many at the most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if not 0 <= options.share <= 1:
        parser.error("--share lies between 0 and 1")
    try:
        found = calibrate(
            options.bundle, options.data, options.out, options.images, options.seed,
            unet=options.unet, share=options.share,
        )  # fmt: skip
    except ModelError as error:
        parser.exit(1, f"{error}\n")
    before, after = found.log_loss
    print(
        f"{options.out}: scale {found.calibration.scale[0]:.3f}, bias {found.calibration.bias[0]:+.3f}, "
        f"marked from {found.threshold:.2f}; log loss {before:.4f} → {after:.4f} on {found.images} images"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
