"""Fine-tuning on frames of one's own: reading them, what is kept, and what is said of old and new."""

import json
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.bundle import SHIPPED, describe, load_bundle
from models.errors import BundleRefused, ModelError
from models.examples.batches import Drawing
from models.examples.shards import examples_by_split
from models.preprocess import Preprocessing
from models.segment import Segmentation
from models.training.derive import write_manifest
from models.training.export import export_unet
from models.training.finetune import finetune, train_on, verdict_of
from models.training.keeping import freeze_statistics
from models.training.own_frames import TILE, OwnFrame, as_examples, instances_of, split_frames, tiles_of
from models.training.unet import Settings, train
from models.unet import Architecture, UNet

SHAPE = (200, 280)
LEFT_OUT = ("sha256", "name", "format", "classes", "preferred_backend", "calibration", "segmentation")


@pytest.fixture(scope="module")
def tiny(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle with a network of width 6 in it that has learnt to see dark discs."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    folder.mkdir()
    architecture = Architecture(6, levels=2)
    settings = Settings(
        architecture, steps=60, batch=4, round_steps=60, learning_rate=1e-2, average=0.9,
        drawing=Drawing(negatives=0.1, randomise=False),
    )  # fmt: skip
    export_unet(train(discs, folder.parent / "run", settings), architecture, folder)
    for name in ("forest.onnx", "forest.skops"):
        (folder / name).write_bytes((SHIPPED / name).read_bytes())
    _, details = describe(SHIPPED)
    kept = {k: v for k, v in details.items() if k not in LEFT_OUT}
    plain = {"unet": {"architecture": architecture.as_dict()}, "segmentation": Segmentation().as_dict()}
    write_manifest(folder, "tiny", kept | plain)
    return folder


def draw(folder: Path, number: int) -> None:
    """A frame of bright discs on noise with its mask, 200 × 280 pixels."""
    rng = np.random.default_rng(number)
    r, c = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mask = np.zeros(SHAPE, bool)
    for col in (70, 190):
        mask |= np.hypot(r - rng.uniform(60, 140), c - col) < rng.uniform(30, 45)
    counts = rng.normal(1000, 40, SHAPE) + 300 * mask
    cv2.imwrite(str(folder / f"f{number}_image.png"), counts.astype(np.uint16))
    cv2.imwrite(str(folder / f"f{number}_mask.png"), (255 * mask).astype(np.uint8))


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        draw(folder, number)
    return folder


def test_a_new_version_is_made_and_compared(tiny: Path, frames: Path, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in tiny.iterdir()}
    order = {
        "pixel_size_nm": 0.05,
        "steps": 120,
        "batch": 2,
        "learning_rate_peak": 1e-2,
        "held_out": 0.3,
    }
    made = finetune(tiny, frames, tmp_path / "new", **order)
    assert {p.name: p.read_bytes() for p in tiny.iterdir()} == before
    old, new = describe(tiny), describe(made.bundle)
    assert new[0].startswith("tiny-v2-")
    assert new[0] in made.verdict
    assert new[1]["parent"] == old[0]
    told = new[1]["provenance"]
    assert set(told["frames"]) == {f"f{n}_image.png" for n in range(3)}
    assert len(told["held_out"]) == 1
    assert told["comparison"] == json.loads(json.dumps(made.comparison))
    for side in ("old", "new"):
        assert [row["frame"] for row in made.comparison[side]["held_out"]["each"]] == told["held_out"]
    # A network that looked for dark discs learns that they may be bright; batch norm's statistics are the old ones.
    dice = [made.comparison[side]["held_out"]["mean_dice"] for side in ("old", "new")]
    assert dice[1] > dice[0] + 0.1
    assert "new network is better" in made.verdict
    one, two = (load_file(folder / "unet.safetensors") for folder in (tiny, made.bundle))
    for name in one:
        assert torch.equal(one[name], two[name]) == ("running" in name or "num_batches" in name), name
    with pytest.raises(BundleRefused, match="never overwritten"):
        finetune(tiny, frames, tmp_path / "new", **order)


def test_the_same_frames_and_seed_give_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own = OwnFrame("a", rng.normal(size=SHAPE).astype(np.float32), np.ones(SHAPE, np.int32), 0.05, "")
    parent, made = load_bundle(tiny, "cpu"), []
    for n, seed in enumerate((1, 1, 2)):
        settings = Settings(Architecture(6, levels=2), steps=3, batch=2, learning_rate=1e-3, seed=seed)
        train_on([own], None, parent, settings, tmp_path / str(n), "cpu")
        made.append((tmp_path / str(n) / "unet.safetensors").read_bytes())
    assert made[0] == made[1] != made[2]


def test_leaving_one_out_judges_every_frame(tiny: Path, frames: Path, tmp_path: Path) -> None:
    made = finetune(tiny, frames, tmp_path / "new", pixel_size_nm=0.05, steps=1, batch=1, held_out=None)
    told = describe(made.bundle)[1]["provenance"]
    assert told["leaving_one_out"]
    assert told["held_out"] == [f"f{n}_image.png" for n in range(3)]
    assert load_bundle(made.bundle, "cpu").details["version"] == 2


def test_a_data_set_is_learnt_again(discs: Path) -> None:
    own = OwnFrame("a", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32),
                   np.ones(SHAPE, np.int32), 0.05, "00")  # fmt: skip
    replay = examples_by_split(discs, ["train"])
    with pytest.raises(ModelError, match="128 × 128 pixels, not 256"):
        as_examples([own], Preprocessing(), replay)
    wide = replace(
        replay,
        images=np.tile(replay.images, (1, 2, 2)),
        labels=np.tile(replay.labels, (1, 2, 2)),
    )
    both = as_examples([own], Preprocessing(), wide)
    alone = as_examples([own], Preprocessing(), None)
    assert len(both) == len(alone) + len(replay) == len(both.images) == len(both.labels)
    assert both.digest not in (alone.digest, replay.digest)
    np.testing.assert_array_equal(both.images[len(alone) :], wide.images)
    assert {about["specimen"] for about in alone.about} == {"own-0-0"}


def test_tiles_cover_the_frame_with_its_truth() -> None:
    image = np.random.default_rng(0).normal(5, 1, (300, 520)).astype(np.float32)
    instances = np.zeros((300, 520), np.int32)
    instances[20:60, 20:60], instances[20:60, 60:90], instances[250:290, 480:510] = 700, 701, 702
    image[instances > 0] -= 4
    tiles = tiles_of(OwnFrame("a", image, instances, 0.05, ""), Preprocessing())
    assert len(tiles) == 2 * 4  # rows from 0 and 44, columns from 0, 128, 256 and 264
    for counts, labels in tiles:
        assert counts.shape == labels.shape == (TILE, TILE)
        if labels.any():
            assert counts[labels > 0].mean() < counts[labels == 0].mean() - 0.4
    assert tiles[0][1].max() == 2
    assert tiles[-1][1][250 - 44, 480 - 264] == 1
    # At another sampling the truth goes with the image.
    finer = tiles_of(OwnFrame("a", image, instances, 0.025, ""), Preprocessing())
    assert len(finer) == 2
    assert finer[0][1][20, 15] > 0
    assert finer[0][1][20, 50] == 0


def test_masks_of_every_kind() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:10, 5:10], mask[20:30, 20:30] = 255, 255
    assert instances_of(mask).max() == 2
    assert instances_of(mask > 0).max() == 2
    mask[10, 5:10] = 100  # a smoothed outline
    assert instances_of(mask).max() == 2
    assert instances_of(mask.astype(np.float32)).max() == 2
    touching = np.zeros((40, 40), np.int32)
    touching[5:10, 5:10], touching[5:10, 10:20] = 300, 17
    assert instances_of(touching).max() == 2
    counted = (touching > 0).astype(np.uint8) + (touching > 20)
    assert instances_of(counted).max() == 2
    assert not instances_of(np.zeros((4, 4), np.uint8)).any()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: [p.unlink() for p in d.glob("*_mask.png")], "no frame with a mask"),
        (lambda d: [p.unlink() for p in d.glob("*")], "holds no picture"),
        (lambda d: cv2.imwrite(str(d / "f0_mask.png"), np.ones((9, 7), np.uint8)), r"9 × 7 pixels, .* 200 × 280"),
        (lambda d: [cv2.imwrite(str(p), np.zeros(SHAPE, np.uint8)) for p in d.glob("*_mask.png")],
         "masks of all 3 frames .* are empty"),
        (lambda d: cv2.imwrite(str(d / "f1_image.png"), np.ones(SHAPE, np.uint8)), "is constant"),
        (lambda d: [(d / f"f{n}_image.png").unlink() for n in (0, 1)], "one frame with a mask"),
    ],
)  # fmt: skip
def test_unusable_frames_are_named(tiny: Path, frames: Path, tmp_path: Path, spoil, says: str) -> None:
    spoil(frames)
    with pytest.raises(ModelError, match=says):
        finetune(tiny, frames, tmp_path / "new", pixel_size_nm=0.05, steps=1)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_no_bundle_is_refused(frames: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="no bundle"):
        finetune(frames, frames, tmp_path / "new", pixel_size_nm=0.05)


def test_frames_are_split_by_the_seed() -> None:
    frames = [
        OwnFrame(str(n), np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int32), 1, "") for n in range(8)
    ]
    assert split_frames(frames, 0.25, 1, Path()) == split_frames(frames, 0.25, 1, Path())
    assert len(split_frames(frames, 0.25, 1, Path())[0]) == 2
    assert len({tuple(split_frames(frames, 0.25, seed, Path())[0]) for seed in range(9)}) > 1
    assert split_frames(frames, None, 1, Path()) == [[n] for n in range(8)]
    assert len(split_frames(frames[:2], 0.9, 1, Path())[0]) == 1
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(ModelError, match="between 0 and 1"):
            split_frames(frames, share, 1, Path())


def test_frozen_statistics_stay_while_weights_learn() -> None:
    net = UNet(Architecture(4, levels=2)).train()
    freeze_statistics(net)
    before = {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
    net(torch.randn(2, 1, 32, 32)).sum().backward()
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    assert all(p.grad is not None for p in net.parameters())


def side(dice: float | None, simulated: float, noise: float) -> dict:
    return {
        "held_out": {
            "mean_dice": dice,
            "false_area_of_empty": 0.01 if dice is None else None,
            "each": [{}, {}],
        },
        "false_area": {"noise": noise, "ramp": 0.001},
        "simulated": {"dice": simulated},
    }


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ((0.8, 0.9, 0.0), (0.9, 0.9, 0.0), "The new network is better on your frames; mean Dice on the 2 frames"),
        ((0.8, 0.9, 0.0), (0.7, 0.9, 0.0), "The old network is better on your frames: keep it;"),
        ((0.8, 0.9, 0.0), (0.802, 0.9, 0.0), "Neither is better"),
        ((0.8, 0.9, 0.0), (0.9, 0.8, 0.0), "better on your frames, but worse on simulated images;"),
        ((0.8, 0.9, 0.0), (0.9, 0.9, 0.2), r"but worse on empty frames \(noise: 20.0% of the area"),
        ((0.8, 0.9, 0.0), (0.7, 0.8, 0.0), "keep it, and the new one is worse on simulated images;"),
        ((None, 0.9, 0.0), (None, 0.9, 0.0), "Neither .* hold next to nothing"),
    ],
)  # fmt: skip
def test_a_sentence_says_which_is_better(old: tuple, new: tuple, says: str) -> None:
    comparison = {"old": side(*old), "new": side(*new)}
    untouched = deepcopy(comparison)
    assert re.search(says, verdict_of(comparison))
    assert comparison == untouched
