"""An evaluation from end to end: figures, bars, tables, card, pictures, and real frames with masks."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.bundle import SHIPPED, describe, load_bundle
from models.errors import ModelError
from models.evaluation.card import card
from models.evaluation.card import main as print_card
from models.evaluation.evaluate import as_text, evaluate, judge_of
from models.evaluation.judge import choose, judge
from models.evaluation.real import marked_on
from models.examples.augment import NEGATIVES
from models.examples.real_frames import RealFrames, grey, read_pairs, read_picture
from models.examples.shards import examples_by_split
from models.examples.strata import preset_of


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames with masks, one of them empty, at 0.1 nm/px, and one that has none."""
    folder = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(0)
    r, c = np.mgrid[:96, :96]
    for name, radius in (("a", 18), ("b", 0)):
        inside = np.hypot(r - 48, c - 48) < radius
        image = np.clip(rng.normal(140, 12, (96, 96)) - 70 * inside, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{name}_image.png"), cv2.merge([image, image, image]))
        cv2.imwrite(str(folder / f"{name}_mask.png"), inside.astype(np.uint8) * 255)
    cv2.imwrite(str(folder / "c_image.png"), rng.integers(0, 255, (96, 96), dtype=np.uint8))
    return folder


@pytest.fixture(scope="module")
def result(discs: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    pictures = tmp_path_factory.mktemp("pictures") / "new"
    real, blank = [RealFrames(frames, 0.1)], [RealFrames(frames / "c_*", 0.1)]
    found = evaluate(None, discs, most=4, seed=3, real=real, blank=blank, pictures=pictures)
    return {**found, "pictures": pictures}


def test_every_figure_is_there(result: dict) -> None:
    segmentation = result["segmentation"]
    assert segmentation["images"] == 4
    assert result["data"]["images"] == 5  # and one without particles
    assert 0 <= segmentation["dice"] <= 1
    low, high = segmentation["range"]["dice_interval"]
    assert low <= segmentation["range"]["dice"] <= high
    assert set(segmentation["by_condition"]) >= {
        "range", "dose", "microscope", "energy", "carbon", "camera", "material", "preset",
    }  # fmt: skip
    assert segmentation["by_condition"]["preset"]["bare"]["dice"] is None
    assert segmentation["by_particle"]["material"]["Au"]["particles"] > 0
    assert set(segmentation["pixel_calibration"]) == {
        "all", "all uncalibrated", "range", "range uncalibrated",
    }  # fmt: skip
    assert set(result["false_area"]) == {*NEGATIVES, "preset bare"}
    assert len(result["bars"]) == 13
    faint = result["bars"]["Dice around 80 e/Å²"]
    assert faint["met"] is (faint["figure"] >= 0.88)
    areas = result["bars"]["largest false area on negatives"]
    assert areas["figure"] == max(result["false_area"].values())
    left = result["bars"]["largest false area on negatives, not called empty"]
    assert left["figure"] == max(result["false_area_left"].values())
    assert set(result["false_area_left"]) == set(result["false_area"])
    assert all(result["false_area_left"][kind] <= share for kind, share in result["false_area"].items())
    strata = result["classification"]["strata"]
    assert set(strata) == {"dose", "microscope", "diameter"}
    few = result["bars"][
        "largest calibration error of the classes in a stratum"
    ]  # of so few images none tells
    assert few == {"figure": None, "bar": 0.03, "met": None}


def test_the_pooled_dice_is_that_of_all_pixels_together(discs: Path) -> None:
    bundle = load_bundle(SHIPPED, "cpu")
    data = examples_by_split(discs, ["test"])
    chosen = [i for i in range(len(data)) if preset_of(data.about[i]) == "lattice"]
    by = judge_of(bundle)
    verdicts = judge(by, data, chosen).verdicts
    marked = np.stack([by.regions(data.images[i]) > 0 for i in chosen])
    truth = data.labels[chosen] > 0
    expected = 2 * (marked & truth).sum() / (marked.sum() + truth.sum())
    assert sum(v.overlap for v in verdicts) / sum(v.areas for v in verdicts) == pytest.approx(expected)


def test_the_seed_chooses(discs: Path) -> None:
    data = examples_by_split(discs, ["train", "validation", "test"])
    assert choose(data, 6, 1).tolist() == choose(data, 6, 1).tolist()
    assert choose(data, 6, 1).tolist() != choose(data, 6, 2).tolist()
    presets = [preset_of(data.about[i]) for i in choose(data, 6, 1)]
    assert presets.count("lattice") == 6
    assert presets.count("bare") == 2
    assert len(choose(data, 1000, 1)) == len(data)


def test_it_reads_as_text_and_as_json(result: dict) -> None:
    text = as_text(result)
    for said in (
        "range of the bars",
        "NOT met",
        "a_image.png",
        "before calibration",
        "whole chain",
        "F1, slivers too",
    ):
        assert said in text
    assert json.loads(json.dumps({k: v for k, v in result.items() if k != "pictures"}))
    assert "macro-F1" in as_text(evaluate(None))


def test_pictures_are_written(result: dict) -> None:
    names = {p.stem for p in result["pictures"].glob("*.png")}
    assert names == {"confusion", "gallery", "instances", "reliability", "dice_by_condition", "real"}
    for path in result["pictures"].glob("*.png"):
        assert min(read_picture(path).shape[:2]) > 100


def test_the_card_says_what_was_measured(
    result: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = card(None, result)
    assert f"| {result['segmentation']['dice']:.3f} |" in said
    assert describe()[0] in said
    with pytest.raises(ModelError, match="the evaluation is of another"):
        card(None, {**result, "bundle": "another"})
    stored = tmp_path / "e.json"
    stored.write_text(json.dumps({k: v for k, v in result.items() if k != "pictures"}))
    assert print_card([str(SHIPPED), str(stored)]) == 0
    assert capsys.readouterr().out == said
    with pytest.raises(SystemExit, match="1"):
        print_card([str(SHIPPED), str(tmp_path / "none.json")])


def test_real_frames_are_scored_in_their_own_pixels(result: dict, frames: Path) -> None:
    real = result["real"][str(frames)]
    a, b = real["each"]
    by = judge_of(load_bundle(SHIPPED, "cpu"))
    mask = read_picture(frames / "a_mask.png") > 0
    marked = marked_on(grey(read_picture(frames / "a_image.png")), 0.1, by)
    assert (
        a["dice"]
        == real["mean_dice"]
        == pytest.approx(2 * (marked & mask).sum() / (marked.sum() + mask.sum()))
    )
    assert b["dice"] is None
    assert real["false_area_of_empty"] == b["false_area"] == b["marked"]
    assert [row["frame"] for row in result["blank"][str(frames / "c_*")]["each"]] == ["c_image.png"]


def test_pairs_are_found_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    picture = np.zeros((8, 8), np.uint8)
    for name in ("x.png", "x_mask.tif", "y_image.png", "y_mask.png", "lonely.png"):
        cv2.imwrite(str(tmp_path / name), picture)
    cv2.imwrite(str(tmp_path / "images" / "z.png"), picture)
    np.save(tmp_path / "masks" / "z.npy", picture)

    def names(where: Path) -> list[tuple[str, str]]:
        return [(a.name, b.name) for a, b in RealFrames(where, 0.05).pairs()]

    assert names(tmp_path / "*.png") == [("x.png", "x_mask.tif"), ("y_image.png", "y_mask.png")]
    assert names(tmp_path) == [("z.png", "z.npy")]
    assert RealFrames.parse("some/dir=0.05") == RealFrames(Path("some/dir"), 0.05)
    assert read_pairs(RealFrames(tmp_path, 0.05))[0].mask.shape == (8, 8)
    for text in ("dir", "dir=", "dir=x", "=0.05", "dir=-1"):
        with pytest.raises(ModelError, match="pixel size"):
            RealFrames.parse(text)
    np.save(tmp_path / "masks" / "z.npy", np.zeros((9, 8)))
    with pytest.raises(ModelError, match=r"its frame z\.png"):
        read_pairs(RealFrames(tmp_path, 0.05))
    with pytest.raises(ModelError, match="no frame with a mask"):
        RealFrames(tmp_path / "lonely*", 0.05).pairs()
    with pytest.raises(ModelError, match="no picture"):
        RealFrames(tmp_path / "nothing*", 0.05).files()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    for name in ("broken.png", "broken.npy"):
        with pytest.raises(ModelError, match=f"{name} can't be read"):
            read_picture(tmp_path / name)
