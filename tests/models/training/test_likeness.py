"""Making the reference of a bundle, and judging frames with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from models.analysis import analyse
from models.bundle import SHIPPED, load_bundle
from models.errors import BundleRefused, ModelError
from models.quality.likeness import Likeness
from models.training.likeness import main, make


@pytest.fixture(scope="module")
def large(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The discs, four images in one: 256²."""
    folder = tmp_path_factory.mktemp("large")
    for path in discs.glob("*.h5"):
        with h5py.File(path) as small, h5py.File(folder / path.name, "w") as shard:
            shard.attrs.update(small.attrs)
            shard["images"] = np.tile(small["images"], (1, 2, 2))
            shard["labels"] = np.tile(small["labels"], (1, 2, 2))
            small.copy("about", shard)
    return folder


@pytest.fixture(scope="module")
def with_reference(large: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped bundle with a reference made of discs on noise."""
    copy = tmp_path_factory.mktemp("likeness") / "copy"
    shutil.copytree(SHIPPED, copy)
    assert main([str(copy), "--data", str(large), "--most", "40"]) == 0
    return copy


def test_images_that_are_too_small_are_refused(discs: Path) -> None:
    with pytest.raises(ModelError, match="large enough"):
        make(SHIPPED, discs, most=4)


def test_the_reference_changes_no_result_and_no_identity(with_reference: Path) -> None:
    before, after = load_bundle(device="cpu"), load_bundle(with_reference, "cpu")
    assert after.id == before.id
    assert after.likeness is not None
    assert after.details["likeness"]["figures"]["test_frames"] > 0


def test_a_frame_of_another_kind_is_unlike_and_says_by_what(with_reference: Path) -> None:
    bundle = load_bundle(with_reference, "cpu")
    rows, columns = np.mgrid[:512, :512]
    fringes = 520 + 300 * np.cos(rows * 0.9) + 200 * np.cos(columns * 0.7)
    quality = analyse(np.random.default_rng(1).poisson(fringes), 0.05, bundle).quality
    assert quality["unlike"] is True
    assert quality["unlike_by"] in (*bundle.details["likeness"]["frames"]["names"], "the particles' features")


def test_the_same_data_give_the_same_reference(with_reference: Path, large: Path) -> None:
    again, _ = make(with_reference, large, most=40)
    assert again == load_bundle(with_reference, "cpu").details["likeness"]
    assert Likeness.read(again) is not None


def test_a_bundle_with_a_damaged_reference_is_refused(with_reference: Path, tmp_path: Path) -> None:
    copy = tmp_path / "damaged"
    shutil.copytree(with_reference, copy)
    details = json.loads((copy / "bundle.json").read_text())
    details["likeness"]["frames"]["centre"] = [0.0]
    (copy / "bundle.json").write_text(json.dumps(details))
    with pytest.raises(BundleRefused, match="damaged"):
        load_bundle(copy, "cpu")
