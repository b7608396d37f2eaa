"""Refitting with corrections: what is learnt, what is kept, what is compared and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import SHIPPED, describe, load_bundle
from models.errors import BundleRefused, ModelError
from models.examples.rows import Rows, load_rows, rows_file, save_rows
from models.forest import load_forest
from models.results import CLASSES
from models.training.derive import derive
from models.training.forest_file import new_forest, save_forest
from models.training.refit import (
    CORRECTED,
    LARGEST_SHARE,
    WEIGHT,
    Corrections,
    _parts,
    _weights,
    refit,
    verdict_of,
)

NAMES = list(describe(None)[1]["features"])
YES, NO = CLASSES.index("yes"), CLASSES.index("no")


def rows(count: int, seed: int) -> Rows:
    """Regions of which the first feature tells the class, as in the simulation; the second is noise."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % len(CLASSES)
    features = rng.normal(0, 1, (count, len(NAMES))).astype(np.float32)
    features[:, 0] = 3 * classes + rng.normal(0, 0.5, count)
    specimen = np.array([f"s{seed}-{n // 8}" for n in range(count)])
    particle = np.array([f"{s}/{n}" for n, s in enumerate(specimen)])
    told = np.full(count, 300.0), np.full(count, "a"), np.full(count, 4.0), np.full(count, "train")
    return Rows(features, classes, particle, specimen, *told, np.ones(count, bool), NAMES)


def corrections(count: int = 30, frames: int = 10) -> Corrections:
    """Faults that look like `no` in the first feature, and that the second one betrays at this microscope."""
    rng = np.random.default_rng(9)
    features = rng.normal(0, 1, (count, len(NAMES))).astype(np.float32)
    features[:, 0] = 3 * NO
    features[:, 1] = 9 + rng.normal(0, 0.5, count)
    groups = np.array([str(n * frames // count) for n in range(count)])
    return Corrections(features, NAMES, np.full(count, YES), groups, "monday")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose forest learnt from `rows`, with them beside it."""
    folder = tmp_path_factory.mktemp("parent")
    learn, check = rows(480, 1), rows(160, 2)
    save_forest(new_forest(100, 1).fit(learn.features, learn.classes), folder)
    derive(SHIPPED, folder / "old", forest=folder, provenance={})
    save_rows(rows_file(folder / "old"), learn, check)
    return folder / "old"


def test_what_is_corrected_is_learnt_and_nothing_is_forgotten(parent: Path, tmp_path: Path) -> None:
    told = corrections()
    result = refit(parent, told, tmp_path / "new")
    old, new = result.comparison["old"], result.comparison["new"]
    assert old["corrected"] == 0
    assert new["corrected"] >= 27  # by forests that have not learnt from that part of the session
    assert new["held_out"]["macro_f1"] > old["held_out"]["macro_f1"] - 0.02
    assert "The new forest mends much of what was corrected" in result.verdict
    judged = load_bundle(tmp_path / "new", "cpu").forest(told.features)
    assert (judged.argmax(axis=1) == YES).all()


def test_the_new_bundle_is_a_version_of_the_old(parent: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in parent.iterdir()}
    refit(parent, corrections(), tmp_path / "new")
    assert {path.name: path.read_bytes() for path in parent.iterdir()} == before
    (old_id, old), (new_id, new) = describe(parent), describe(tmp_path / "new")
    assert (new["parent"], new["version"]) == (old_id, old["version"] + 1)
    assert new_id != old_id
    for name in ("unet.safetensors", "unet.onnx", "unet.int8.onnx"):
        assert new["sha256"][name] == old["sha256"][name]
    assert new["sha256"]["forest.onnx"] != old["sha256"]["forest.onnx"]
    assert new["forest"]["regions"] == 480 + 30
    assert sum(map(sum, new["confusion"]["counts"])) == pytest.approx(160, abs=0.1)
    assert new["rates"]["sensitivity"][1] == 40  # of the particles held out, counted anew
    assert new["metrics_of"] == old["metrics_of"]
    assert new["provenance"]["corrected"] == {"empty": 0, "null": 0, "no": 0, "yes": 30}
    rng = np.random.default_rng(0)
    some = rng.normal(0, 3, (200, len(NAMES))).astype(np.float32)
    votes = load_forest(tmp_path / "new" / "forest.skops").predict_proba(some)
    powered = votes ** new["sharpening"]
    wanted = powered / powered.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(load_bundle(tmp_path / "new", "cpu").forest(some), wanted, atol=2e-6)


def test_the_same_corrections_give_the_same_forest(parent: Path, tmp_path: Path) -> None:
    for name, threads in (("one", 1), ("two", 2)):
        refit(parent, corrections(), tmp_path / name, threads=threads)
    one, two = (tmp_path / name / "forest.onnx" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_second_refit_keeps_the_first_ones_corrections(parent: Path, tmp_path: Path) -> None:
    refit(parent, corrections(), tmp_path / "second")
    learn, check = load_rows(rows_file(tmp_path / "second"))
    assert np.char.startswith(learn.specimen, CORRECTED).sum() == 30
    assert not np.char.startswith(check.specimen, CORRECTED).any()
    weights = _weights(learn)
    assert weights[:480].tolist() == [1.0] * 480
    assert weights[480:] == pytest.approx(LARGEST_SHARE * 480 / 30)  # less than WEIGHT: they are many
    assert weights[480] < WEIGHT
    other = replace(corrections(), source="tuesday")
    again = refit(tmp_path / "second", other, tmp_path / "third")
    assert describe(again.bundle)[1]["forest"]["regions"] == 480 + 60
    assert again.comparison["old"]["corrected"] == 30  # the second knows them already
    assert "Neither forest is better" in again.verdict


def test_parts_of_a_session_are_stretches_of_whole_frames() -> None:
    groups = np.array(["7", "7", "9", "10", "10", "11", "12"])
    parts = _parts(groups)
    assert np.sum(parts, axis=0).tolist() == [1] * 7
    assert [list(groups[part]) for part in parts] == [["7", "7", "9"], ["10", "10", "11"], ["12"]]
    assert _parts(np.array(["3", "3"])) == []


def test_corrections_of_one_frame_are_learnt_but_not_boasted_of(parent: Path, tmp_path: Path) -> None:
    result = refit(parent, corrections(frames=1), tmp_path / "new")
    assert result.comparison["new"]["corrected"] is None
    assert "can't be told" in result.verdict


def test_the_verdict_says_when_something_was_forgotten() -> None:
    def side(f1: float, corrected: int) -> dict:
        return {
            "held_out": {"macro_f1": f1, "regions": 100, "recall": {"yes": 0.9}},
            "corrected": corrected,
        }

    told = verdict_of({"old": side(0.90, 2), "new": side(0.85, 9), "regions": 10, "wrong": 8})
    assert "mends much of what was corrected, but it is worse on simulated specimens" in told
    assert "not known" not in told
    assert "0.850, 0.900 before" in told
    told = verdict_of({"old": side(0.90, 8), "new": side(0.90, 3), "regions": 10, "wrong": 2})
    assert told.startswith("The old forest is better on your frames: keep it;")


def test_rows_are_kept_in_half_precision_and_compactly(tmp_path: Path) -> None:
    some = rows(4000, 3)
    some.features[0, 0] = 1e9
    save_rows(tmp_path / "x.rows.npz", some, some.of(some.classes == YES))
    learn, check = load_rows(tmp_path / "x.rows.npz")
    assert learn.features.dtype == np.float32
    np.testing.assert_allclose(learn.features[1:], some.features[1:], rtol=1e-3, atol=1e-4)
    assert np.isfinite(learn.features).all()
    assert (learn.particle == some.particle).all()
    assert len(check.classes) == 1000
    assert (tmp_path / "x.rows.npz").stat().st_size < 1_000_000


def test_what_can_not_be_refitted_is_refused(parent: Path, tmp_path: Path) -> None:
    told = corrections()
    with pytest.raises(BundleRefused, match="is there already"):
        refit(parent, told, parent)
    with pytest.raises(ModelError, match="no correction to learn from"):
        refit(parent, replace(told, classes=np.zeros(0, int)), tmp_path / "new")
    with pytest.raises(ModelError, match=f"measured without {NAMES[3]};"):
        refit(parent, replace(told, names=[*NAMES[:3], "x", *NAMES[4:]]), tmp_path / "new")
    alone = tmp_path / "alone"
    shutil.copytree(parent, alone)
    with pytest.raises(BundleRefused, match="training rows are not beside it"):
        refit(alone, told, tmp_path / "new")
    rows_file(alone).write_bytes(b"PK no archive")
    with pytest.raises(BundleRefused, match="is damaged"):
        refit(alone, told, tmp_path / "new")
    np.savez(rows_file(alone), names=np.array([{"a": 1}], dtype=object))  # would have to be unpickled
    with pytest.raises(BundleRefused, match="is damaged"):
        refit(alone, told, tmp_path / "new")
    save_rows(rows_file(alone), *(replace(r, names=NAMES[::-1]) for r in (rows(40, 1), rows(40, 2))))
    with pytest.raises(BundleRefused, match="other features"):
        refit(alone, told, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not rows_file(tmp_path / "new").exists()


def test_the_verdict_does_not_boast_of_mending_a_few_mistakes() -> None:
    """Who is asked only where it was wrong is never right: that the new one is right on some is no merit yet."""
    sides = {name: {"held_out": None, "corrected": right} for name, right in (("old", 0), ("new", 5))}
    told = verdict_of({**sides, "regions": 88, "wrong": 88})
    assert told.startswith("The new forest mends little")
    assert "only mistakes were corrected" in told
