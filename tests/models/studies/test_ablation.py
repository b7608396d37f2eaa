"""The ablation's own work: real frames as tiles, folds that leave frames out, going on after an interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.errors import ModelError
from models.examples.real_frames import RealFrames, RealPair
from models.examples.shards import examples_by_split
from models.preprocess import Preprocessing
from models.studies import ablation
from models.training.unet import Settings
from models.unet import Architecture, UNet


def pair(name: str, shape: tuple[int, int], pixel_size_nm: float) -> RealPair:
    rng = np.random.default_rng(len(name))
    r, c = np.mgrid[: shape[0], : shape[1]]
    inside = np.hypot(r - shape[0] / 2, c - shape[1] / 2) < min(shape) / 5
    return RealPair(name, rng.normal(100, 3, shape) - 30 * inside, inside, pixel_size_nm)


def test_tiles_cover_a_frame_at_the_data_sets_sampling() -> None:
    large = pair("large", (300, 520), 0.05)
    tiles = ablation.tiles_of(large, 0.05)
    assert [image.shape for image, _ in tiles] == [(256, 256)] * 6
    np.testing.assert_array_equal(tiles[0][1] > 0, large.mask[:256, :256])
    np.testing.assert_array_equal(tiles[-1][1] > 0, large.mask[-256:, -256:])
    (image, labels), = ablation.tiles_of(pair("small", (100, 100), 0.1), 0.05)  # fmt: skip
    assert image.shape == labels.shape == (256, 256)
    area_nm2 = (labels[:200, :200] > 0).sum() * 0.05**2
    assert area_nm2 == pytest.approx(np.pi * (20 * 0.1) ** 2, rel=0.05)
    assert (
        image[:200, :200][labels[:200, :200] > 0].mean()
        < image[:200, :200][labels[:200, :200] == 0].mean() - 20
    )


def test_real_frames_join_the_training_split_alone(discs: Path, tmp_path: Path) -> None:
    mixed = ablation.mixed_data(discs, [pair("a", (256, 256), 0.05)], tmp_path / "mixed")
    ablation.mixed_data(discs, [pair("a", (256, 256), 0.05)], tmp_path / "mixed")  # again, over what is there
    assert len(examples_by_split(mixed, ["test"])) == len(examples_by_split(discs, ["test"]))
    # The test's own simulated images are of another size than the tiles of real frames: one kind at a time.
    (mixed / "lattice-00000.h5").unlink()
    (mixed / "bare-00000.h5").unlink()
    learnt = examples_by_split(mixed, ["train"])
    assert [about["support"] for about in learnt.about] == ["real frame"]


def test_each_frame_is_judged_by_a_training_without_it(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [pair(name, (100, 100), 0.05) for name in "abc"]
    learnt: list[tuple[str, list[str]]] = []
    begun_with: list[Path | None] = []

    def mixed(data: Path, some: list[RealPair], out: Path) -> Path:
        out.mkdir(parents=True, exist_ok=True)
        (out / "names").write_text(" ".join(p.name for p in some))
        return out

    def trained(data: Path, out: Path, settings: Settings, *, device: str, start_from: Path | None) -> Path:
        names = (data / "names").read_text().split() if (data / "names").exists() else []
        learnt.append((out.parent.name, names))
        begun_with.append(start_from)
        out.mkdir(parents=True)
        torch.manual_seed(0)
        save_file(UNet(Architecture(4, 2)).state_dict(), out / "unet.safetensors")
        told = {"architecture": Architecture(4, 2).as_dict(), "preprocessing": Preprocessing().as_dict()}
        (out / "training.json").write_text(json.dumps(told))
        return out / "unet.safetensors"

    monkeypatch.setattr(ablation, "mixed_data", mixed)
    monkeypatch.setattr(ablation, "train", trained)
    monkeypatch.setattr(ablation, "read_pairs", lambda some: pairs)
    monkeypatch.setattr(ablation, "false_areas", lambda by, each, seed: {"noise": 0.25})
    real, settings = [RealFrames(discs, 0.05)], Settings(steps=1)
    result = ablation.ablate(discs, real, tmp_path / "out", settings, most=2)
    assert [names for variant, names in learnt if variant == "simulation-and-real-frames"] == [
        ["b", "c"], ["a", "c"], ["a", "b"],
    ]  # fmt: skip
    assert [names for variant, names in learnt if variant != "simulation-and-real-frames"] == [[], [], []]
    rows = result["variants"]
    assert list(rows) == [
        "simulation", "without preprocessing", "without randomisation", "simulation and real frames",
    ]  # fmt: skip
    assert all(len(row["real"][str(discs)]["each"]) == 3 for row in rows.values())
    assert all(row["worst_negative"] == 0.25 for row in rows.values())
    assert "without randomisation" in ablation.table_of(result).as_text()
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "ablation.json").read_text()) == json.loads(json.dumps(result))
    before = len(learnt)
    assert ablation.ablate(discs, real, tmp_path / "out", settings, most=2)["variants"] == rows
    assert len(learnt) == before  # all of it was kept
    assert set(begun_with) == {None}
    with pytest.raises(ModelError, match="other settings"):
        ablation.ablate(discs, real, tmp_path / "out", Settings(steps=2), most=2)
    with pytest.raises(ModelError, match="other settings"):  # those did not begin with a bundle
        ablation.ablate(discs, real, tmp_path / "out", settings, most=2, start_from=discs)
    chosen = ablation.ablate(
        discs, real, tmp_path / "one", settings, most=2, start_from=discs, only=["simulation"]
    )
    assert list(chosen["variants"]) == ["simulation"]
    assert begun_with[before:] == [discs]


def test_the_switches_are_those_of_the_training() -> None:
    plain, unprepared, narrow, mixed = ablation.variants(Settings(steps=7), 3)
    assert plain.settings == mixed.settings == Settings(steps=7)
    assert (unprepared.settings.preprocess, unprepared.settings.randomise) == (False, True)
    assert (narrow.settings.preprocess, narrow.settings.randomise) == (True, False)
    assert [v.folds for v in (plain, unprepared, narrow, mixed)] == [0, 0, 0, 3]


def test_leaving_out_needs_frames(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "read_pairs", lambda some: [pair("a", (100, 100), 0.05)])
    with pytest.raises(ModelError, match="at least two"):
        ablation.ablate(discs, [RealFrames(discs, 0.05)], tmp_path / "x", Settings())
    monkeypatch.setattr(ablation, "read_pairs", lambda some: [pair("a", (100, 100), 0.05)] * 3)
    with pytest.raises(ModelError, match="leaves nothing out"):
        ablation.ablate(discs, [RealFrames(discs, 0.05)], tmp_path / "x", Settings(), folds=1)
