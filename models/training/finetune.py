"""Fine-tune a bundle's network on an operator's own frames with masks; read top to bottom.

The parent's weights go on being trained at a small learning rate, with the running statistics of batch norm left as
they are: a few frames of one session are no sample of all. A simulated data set may be learnt again at the same time
(replay), so that nothing is forgotten. What comes out is a new version of the bundle beside the old one, and a
comparison of both on frames that the new one has not learnt from. Forest and calibration are the parent's.

With a share held out, the network that was compared is the one that is kept. Leaving one out, each frame is judged by
a training without it, and the network that is kept learnt from all frames: it is not itself in the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from models.bundle import Bundle, describe, load_bundle, torch_network
from models.device.there import why_no_cuda
from models.errors import BundleRefused, ModelError
from models.evaluation.judge import Judge, false_areas, judge, pooled
from models.evaluation.real import marked_on, scored
from models.examples.batches import OTHERS, Drawing, Pool, batches
from models.examples.real_frames import Reader, RealFrames, read_picture
from models.examples.shards import Examples, examples_by_split
from models.examples.strata import EMPTY_PRESETS, preset_of
from models.runtime import one_opencv_thread
from models.segment import calibrated
from models.training.derive import derive
from models.training.keeping import freeze_statistics
from models.training.own_frames import PRESET, OwnFrame, as_examples, digest_of, read_own, split_frames
from models.training.unet import Settings, learn_from
from models.unet import UNet, architecture_of

REPLAY_SHARDS = 4
"""Shards of each preset that are learnt again."""
REPLAY_IMAGES = 300
"""Validation images of the replayed data set that old and new are compared on."""
SAME_DICE = 0.005
"""Differences of Dice below this are called none."""
GENTLE_RATE = 1.5e-4
"""Largest learning rate of a gentle training."""
FORGOTTEN = 0.02
"""A loss of Dice on simulated images from which the new network has forgotten something."""

GENTLE = Drawing(
    weights={"lattice": 0.4, "overview": 0.1, "grains": 0.1, "bare": 0.16, "soot": 0.1, PRESET: 0.14},
    negatives=0.42,
    hard=0.75,
    faint=2.5,
)
"""What a gentle training learns from: half of it holds nothing, most of that such as the network marks."""


def gentle(settings: Settings) -> Settings:
    """A training that goes on from a good network and is to lose nothing of it.

    Small steps, its own output kept where it is right, the statistics of batch norm and the first level as they are.
    """
    return replace(
        settings,
        learning_rate=GENTLE_RATE,
        average=0.998,
        keep=0.5,
        fixed_statistics=True,
        fixed_levels=1,
        patience=0,
        drawing=GENTLE,
    )


@dataclass(frozen=True)
class FineTuned:
    """The result of a fine-tuning."""

    bundle: Path
    comparison: dict[str, Any]
    """`old` and `new`: `held_out` (`models.evaluation.real.scored`), `false_area` by kind and, with replay,
    `simulated`."""
    verdict: str
    """A sentence for the operator: which is better, on what."""


def finetune(
    bundle: Path,
    frames: Path,
    out: Path,
    *,
    pixel_size_nm: float,
    held_out: float | None = 0.25,
    steps: int = 400,
    seed: int = 1,
    learning_rate_peak: float = 2e-4,
    batch: int = 8,
    device: str = "cpu",
    replay: Path | None = None,
    read: Reader = read_picture,
) -> FineTuned:
    """Fine-tune and compare; the new bundle stands in `out`, the old one stays as it is.

    Parameters
    ----------
    frames : folder of frames and masks (see `models.examples.real_frames`), or a pattern in one.
    pixel_size_nm : of the frames [nm/px].
    held_out : share of the frames that are not learnt from; `None` leaves one out at a time.
    replay : a simulated data set; half of what is drawn is then from it.
    read : reads a picture file; gives (H, W) or (H, W, C).

    Raises
    ------
    BundleRefused
        The parent is refused, there is something at `out` already, or there is no such device.
    ModelError
        The frames are unusable (see `models.training.own_frames`), or the replayed data set is.
    """
    _refuse_early(out, device)
    parent = load_bundle(bundle, "cpu")
    own = read_own(RealFrames(frames, pixel_size_nm), read)
    groups = split_frames(own, held_out, seed, frames)
    again = None if replay is None else examples_by_split(replay, ["train"], REPLAY_SHARDS)
    architecture = architecture_of(parent.details["unet"])
    settings = Settings(architecture, steps=steps, batch=batch, learning_rate=learning_rate_peak, seed=seed)
    with one_opencv_thread(), TemporaryDirectory() as working:
        learnt: list[Path] = []
        for number, left_out in enumerate([*groups, []] if held_out is None else groups):
            folder = Path(working) / str(number)
            chosen = [frame for n, frame in enumerate(own) if n not in left_out]
            train_on(chosen, again, parent, settings, folder, device)
            learnt.append(folder)
        comparison = compare(parent, learnt, own, groups, replay, device)
        verdict = verdict_of(comparison)
        provenance = {
            "made_by": "fine-tuning",
            "parent_weights": parent.details["sha256"]["unet.safetensors"],
            **_told_of(own, groups, settings),
            "pixel_size_nm": pixel_size_nm,
            "leaving_one_out": held_out is None,
            "replay": again.digest if again else None,
            "comparison": comparison,
            "verdict": verdict,
        }
        derive(bundle, out, unet_weights=learnt[-1] / "unet.safetensors", provenance=provenance)
    return FineTuned(out, comparison, f"{describe(out)[0]}: {verdict}")


def _refuse_early(out: Path, device: str) -> None:
    """Refuse, before anything is learnt, what could not be finished."""
    if out.exists():
        raise BundleRefused(f"{out} is there already; a bundle is never overwritten")
    missing = why_no_cuda() if device == "cuda" else None
    if missing is not None:
        raise BundleRefused(missing)


def _told_of(own: Sequence[OwnFrame], groups: Sequence[Sequence[int]], settings: Settings) -> dict[str, Any]:
    """What the provenance says of the frames, of those that were left out, and of the training."""
    return {
        "frames": {frame.name: frame.digest for frame in own},
        "frames_digest": digest_of(own),
        "held_out": [own[n].name for group in groups for n in group],
        "steps": settings.steps,
        "batch": settings.batch,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
    }


def train_on(
    frames: Sequence[OwnFrame],
    replay: Examples | None,
    parent: Bundle,
    settings: Settings,
    out: Path,
    device: str,
    own_share: float = 0.5,
) -> None:
    """Go on training the parent's weights on these frames; leaves `unet.safetensors` in `out`.

    Parameters
    ----------
    own_share : share of what is drawn that is of these frames, where there is a data set to draw from too.
    """
    from tqdm import tqdm

    preprocessing = parent.preprocessing
    net = UNet(settings.architecture)
    net.load_state_dict(load_file(parent.path / "unet.safetensors"))
    net = net.to(device).train()
    freeze_statistics(net)
    drawing = settings.drawing
    weights = {PRESET: 1.0}
    if replay is not None:
        names = {preset_of(about) for about in replay.about}
        given = {name: drawing.weights.get(name, OTHERS) for name in names}
        weights |= {
            name: weight / sum(given.values()) * (1 - own_share) / own_share for name, weight in given.items()
        }
    pool = Pool(as_examples(frames, preprocessing, replay), weights)
    optimiser = torch.optim.AdamW(net.parameters(), settings.learning_rate, weight_decay=1e-4)
    source = batches(pool, drawing, preprocessing, settings.batch, settings.seed, 0, device)
    for step in tqdm(range(settings.steps), unit="step", disable=None):
        learn_from(next(source), net, optimiser, step, settings, device)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in net.state_dict().values()):
        raise ModelError(f"the training ran away at a learning rate of {settings.learning_rate:g}; lower it")
    out.mkdir(parents=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    save_file(state, out / "unet.safetensors")


def judge_with(parent: Bundle, weights: Path, device: str) -> Judge:
    """A network from its folder with everything else of the parent's; old and new run on the same backend."""
    network = torch_network(weights, architecture_of(parent.details["unet"]), device)
    return Judge(
        calibrated(network, parent.calibration),
        parent.preprocessing,
        parent.segmentation,
        parent.calibration,
    )


def compare(
    parent: Bundle,
    learnt: Sequence[Path],
    own: Sequence[OwnFrame],
    groups: Sequence[Sequence[int]],
    replay: Path | None,
    device: str,
) -> dict[str, Any]:
    """Old and new on the frames left out, on frames that hold nothing, and on simulated validation images.

    Parameters
    ----------
    learnt : folder of the network of each group of frames left out, and last of the one that is kept.
    """
    old, kept = judge_with(parent, parent.path, device), judge_with(parent, learnt[-1], device)
    pairs = [own[n].pair() for group in groups for n in group]
    by_new = [
        judge_with(parent, folder, device)
        for folder, group in zip(learnt, groups, strict=False)  # the last of leave-one-out leaves none out
        for _ in group
    ]
    result: dict[str, Any] = {
        "old": {"held_out": scored(pairs, [marked_on(p.image, p.pixel_size_nm, old) for p in pairs])},
        "new": {
            "held_out": scored(
                pairs,
                [marked_on(p.image, p.pixel_size_nm, by) for p, by in zip(pairs, by_new, strict=True)],
            )
        },
    }
    simulated = None if replay is None else examples_by_split(replay, ["validation"], REPLAY_SHARDS)
    for name, by in (("old", old), ("new", kept)):
        result[name]["false_area"] = false_areas(by, each=16)
        if simulated is not None:
            result[name]["simulated"] = _on_simulated(by, simulated)
    return result


def _on_simulated(by: Judge, data: Examples) -> dict[str, float | None]:
    """Dice where there are particles, and false area where there are none, of images spread over a split."""
    chosen = np.unique(np.linspace(0, len(data) - 1, min(REPLAY_IMAGES, len(data))).astype(int))
    verdicts = judge(by, data, chosen).verdicts
    holding = [v for v in verdicts if preset_of(v.about) not in EMPTY_PRESETS]
    empty = [v for v in verdicts if preset_of(v.about) in EMPTY_PRESETS]
    return {"dice": pooled(holding)["dice"], "false_area_of_empty": pooled(empty)["false_area"]}


def verdict_of(comparison: dict[str, Any]) -> str:
    """Which is better, in a sentence: by the frames held out first, by what was forgotten second."""
    old, new = comparison["old"], comparison["new"]
    count = len(new["held_out"]["each"])
    held = f"{count} frame{'s' if count > 1 else ''} held out"
    before, after = old["held_out"]["mean_dice"], new["held_out"]["mean_dice"]
    if before is None or after is None:
        before, after = (side["held_out"]["false_area_of_empty"] for side in (old, new))
        told = f"the {held} hold next to nothing; marked of them: {after:.2%} by the new one, {before:.2%} by the old"
        better = before - after
    else:
        told = f"mean Dice on the {held}: {after:.3f} by the new one, {before:.3f} by the old"
        better = after - before
    forgotten = []
    if "simulated" in new:
        dice_old, dice_new = old["simulated"]["dice"], new["simulated"]["dice"]
        if dice_old is not None and dice_new is not None:
            told += f"; on simulated images {dice_new:.3f} and {dice_old:.3f}"
            if dice_new < dice_old - FORGOTTEN:
                forgotten.append("simulated images")
    worst = max(new["false_area"], key=lambda kind: new["false_area"][kind] - old["false_area"][kind])
    rise = new["false_area"][worst] - old["false_area"][worst]
    if rise > FORGOTTEN:
        forgotten.append(
            f"empty frames ({worst}: {new['false_area'][worst]:.1%} of the area marked, "
            f"{old['false_area'][worst]:.1%} before)"
        )
    if abs(better) < SAME_DICE:
        first = "Neither is better on your frames"
    elif better > 0:
        first = "The new network is better on your frames"
    else:
        first = "The old network is better on your frames: keep it"
    if better >= SAME_DICE and forgotten:
        first += f", but worse on {' and '.join(forgotten)}"
    elif forgotten:
        first += f", and the new one is worse on {' and '.join(forgotten)}"
    return f"{first}; {told}."
