"""The shipped bundle: its forms agree, a damaged or foreign one is refused, and frames are judged with it."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from models.analysis import analyse
from models.bundle import (
    FILES,
    INT8,
    SHIPPED,
    by_name,
    describe,
    identity,
    load_bundle,
    onnx_network,
    torch_network,
)
from models.errors import BundleRefused, CannotAnalyse, ModelError
from models.examples.augment import NEGATIVES
from models.examples.shards import examples_by_split
from models.forest import as_rows, load_forest, sharpened
from models.preprocess import canonical
from models.results import CLASSES
from models.training.derive import derive
from models.unet import architecture_of
from monitor.settings import WatchSettings
from sim.microscope.library import load_library
from sim.microscope.play import Story, take_frames


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(device="cpu")


@pytest.fixture(scope="module")
def taken():
    return next(take_frames(Story(frames=1, size=1024, seed=42), load_library()))


@pytest.fixture(scope="module")
def analysis(bundle, taken):
    return analyse(taken.counts, taken.pixel_size_nm, bundle)


def test_onnx_and_torch_agree() -> None:
    _, details = describe()
    onnx = onnx_network(SHIPPED / "unet.onnx")
    torch = torch_network(SHIPPED, architecture_of(details["unet"]), "cpu")
    rng = np.random.default_rng(0)
    for shape in ((64, 64), (256, 320)):
        image = rng.normal(size=(1, 1, *shape)).astype(np.float32)
        np.testing.assert_allclose(onnx(image), torch(image), atol=1e-4)


def test_what_comes_with_the_program_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path(SHIPPED.name)
    assert by_name(name) == SHIPPED
    assert WatchSettings(bundle=name).bundle == SHIPPED
    for other in (Path("mine"), Path("folder") / name, tmp_path / name):
        assert by_name(other) == other
    name.mkdir()  # a folder of the user's own goes before
    assert by_name(name) == name


def test_both_forms_of_the_forest_agree(bundle) -> None:
    forest = load_forest(SHIPPED / "forest.skops")
    rows = np.random.default_rng(1).normal(0, 2, (200, len(bundle.feature_names))).astype(np.float32)
    votes = sharpened(forest.predict_proba(rows), bundle.details["sharpening"])
    np.testing.assert_allclose(bundle.forest(rows), votes, atol=1e-6)
    np.testing.assert_allclose(votes.sum(axis=1), 1)
    assert bundle.forest(rows[:0]).shape == (0, 4)


def copy_of_the_shipped(folder: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, folder / "bundle"))


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_refused(tmp_path: Path, file: str) -> None:
    copy = copy_of_the_shipped(tmp_path)
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(BundleRefused, match="damaged"):
        load_bundle(copy, "cpu")
    (copy / file).unlink()
    with pytest.raises(BundleRefused, match=f"lacks {file}"):
        load_bundle(copy, "cpu")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "somebody else's"}, "format"),
        ({"classes": ["a", "b"]}, "classes"),
        ({"sha256": None}, "damaged"),
        ({"preprocessing": {"colour": 3}}, "damaged"),
        ({"segmentation": {"threshold": 0.5, "sound": 1}}, "damaged"),
        ({"calibration": {"scale": [0, 1]}}, "damaged"),
        ({"calibration": {"warp": [1, 1]}}, "damaged"),
        ({"format": "faultwatch bundle 2"}, "'faultwatch bundle 2'"),
        ({"mirrored": True}, "does not know: mirrored"),
        ({"features": ["hue"]}, "does not measure: hue"),
    ],
)
def test_a_foreign_manifest_is_refused(tmp_path: Path, change: dict, says: str) -> None:
    copy = copy_of_the_shipped(tmp_path)
    details = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(details | change))
    with pytest.raises(BundleRefused, match=says):
        load_bundle(copy, "cpu")


def with_hashes(folder: Path) -> None:
    """Make the manifest's hashes those of the files as they are."""
    details = json.loads((folder / "bundle.json").read_text())
    details["sha256"] = {f: sha256((folder / f).read_bytes()).hexdigest() for f in details["sha256"]}
    (folder / "bundle.json").write_text(json.dumps(details))


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    """Also by what reads them, should the manifest know no better."""
    copy = copy_of_the_shipped(tmp_path)
    weights = copy / "unet.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(BundleRefused, match="damaged"):
        load_bundle(copy, "cpu")
    _, details = describe(copy)
    with pytest.raises(BundleRefused, match="does not hold this network"):
        torch_network(copy, architecture_of(details["unet"]), "cpu")


@pytest.mark.parametrize("hashed", [False, True])
def test_swapped_files_are_refused(tmp_path: Path, hashed: bool) -> None:
    copy = copy_of_the_shipped(tmp_path)
    without_int8(copy)
    shutil.copyfile(SHIPPED / "forest.onnx", copy / "unet.onnx")
    shutil.copyfile(SHIPPED / "unet.onnx", copy / "forest.onnx")
    if hashed:
        with_hashes(copy)
    with pytest.raises(BundleRefused, match=r"takes an image" if hashed else "damaged"):
        load_bundle(copy, "cpu")
    shutil.copyfile(SHIPPED / "unet.onnx", copy / "unet.onnx")
    if hashed:
        with_hashes(copy)
    with pytest.raises(BundleRefused, match=r"no forest of \d+ features" if hashed else "damaged"):
        load_bundle(copy, "cpu")
    (copy / "unet.onnx").write_bytes(b"no graph at all")
    if hashed:
        with_hashes(copy)
    with pytest.raises(BundleRefused, match=r"can't be loaded" if hashed else "damaged"):
        load_bundle(copy, "cpu")


def without_int8(folder: Path) -> None:
    """Take the eight-bit form out of a bundle."""
    (folder / INT8).unlink(missing_ok=True)
    details = json.loads((folder / "bundle.json").read_text())
    details.pop("preferred_backend", None)
    details["sha256"].pop(INT8, None)
    (folder / "bundle.json").write_text(json.dumps(details))


def test_optional_fields_change_the_identity_only_where_they_are_there() -> None:
    _, details = describe()
    judged = dict(details)
    assert identity({**judged, "provenance": {"made_by": "somebody"}}) == identity(judged)
    assert identity({**judged, "calibration": {"scale": [2, 1], "bias": [0, 0]}}) != identity(judged)


def test_a_new_version_is_derived(tmp_path: Path) -> None:
    """Other weights, the rest carried over, and the parent is named; nothing is overwritten."""
    state = load_file(SHIPPED / "unet.safetensors")
    state["head.bias"] = state["head.bias"] + 0.5
    save_file(state, tmp_path / "mine.safetensors")
    out = tmp_path / "bundles" / "mine"
    assert (
        derive(SHIPPED, out, unet_weights=tmp_path / "mine.safetensors", provenance={"made_by": "me"}) == out
    )
    old, new = load_bundle(SHIPPED, "cpu"), load_bundle(out, "cpu")
    assert new.id.startswith(f"{SHIPPED.name}-v2-")
    assert new.details["parent"] == new.details["metrics_of"] == old.id
    assert new.details["provenance"] == {"made_by": "me"}
    assert new.details["rates"] == old.details["rates"]
    assert (out / "forest.skops").read_bytes() == (SHIPPED / "forest.skops").read_bytes()
    image = np.random.default_rng(0).normal(size=(1, 1, 64, 64)).astype(np.float32)
    before, after = (onnx_network(folder / "unet.onnx")(image) for folder in (SHIPPED, out))
    np.testing.assert_allclose(after, before + 0.5, atol=1e-4)
    assert new.backend == "onnxruntime-cpu"  # new weights have not been quantised
    with pytest.raises(BundleRefused, match="never overwritten"):
        derive(SHIPPED, out, provenance={})
    again = derive(out, tmp_path / "third", provenance={})
    assert describe(again)[0].startswith(f"{SHIPPED.name}-v3-")
    assert describe(again)[1]["metrics_of"] == old.id
    del state["head.bias"]
    save_file(state, tmp_path / "mine.safetensors")
    with pytest.raises(BundleRefused, match="does not hold this network"):
        derive(SHIPPED, tmp_path / "none", unet_weights=tmp_path / "mine.safetensors", provenance={})
    assert not list(tmp_path.glob("none*"))


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="no bundle"):
        describe(tmp_path)
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(BundleRefused, match="damaged"):
        describe(tmp_path)
    with pytest.raises(BundleRefused, match="no device"):
        load_bundle(device="tpu")


def test_the_identity_changes_with_a_setting(tmp_path: Path) -> None:
    copy = copy_of_the_shipped(tmp_path)
    details = json.loads((copy / "bundle.json").read_text())
    assert describe(copy)[0] == describe()[0]
    details["segmentation"]["threshold"] += 0.01
    (copy / "bundle.json").write_text(json.dumps(details))
    assert describe(copy)[0] != describe()[0]


def test_particles_are_found_where_they_are(analysis, taken) -> None:
    whole = [p for p in taken.particles if p["whole"]]
    assert len(whole) >= 3
    found = 0
    for p in whole:
        r, c = (int(x) for x in p["centroid"])
        found += any(
            q.bbox[0] <= r < q.bbox[2] and q.bbox[1] <= c < q.bbox[3] and q.particle_class != "empty"
            for q in analysis.particles
        )
    assert found >= len(whole) - 1


def test_an_analysis_agrees_with_itself(analysis, taken) -> None:
    """Boxes, areas, centroids and outlines all describe the label image."""
    assert analysis.labels.shape == analysis.shape == taken.counts.shape
    assert [p.label for p in analysis.particles] == list(range(1, len(analysis.particles) + 1))
    for p in analysis.particles:
        assert sum(p.probabilities) == pytest.approx(1)
        assert CLASSES[int(np.argmax(p.probabilities))] == p.particle_class
        if p.particle_class == "empty":
            assert not (analysis.labels == p.label).any()
            continue
        rows, cols = np.nonzero(analysis.labels == p.label)
        assert p.bbox == (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
        assert p.centroid == (pytest.approx(rows.mean()), pytest.approx(cols.mean()))
        assert p.area_nm2 == pytest.approx(len(rows) * taken.pixel_size_nm**2)
        assert p.diameter_nm == pytest.approx(2 * np.sqrt(p.area_nm2 / np.pi))
        assert len(p.outline) >= 4
    assert set(analysis.timings_ms) == {"preprocess", "segment", "measure", "classify", "likeness"}


def test_the_same_frame_gives_the_same_result(analysis, bundle, taken) -> None:
    again = analyse(taken.counts, taken.pixel_size_nm, bundle)
    assert again.particles == analysis.particles
    np.testing.assert_array_equal(again.labels, analysis.labels)


def test_gain_offset_and_type_do_not_matter(analysis, bundle, taken) -> None:
    counts = taken.counts.astype(np.float32) * 3.5 - 1000
    one, two = (canonical(c, taken.pixel_size_nm, bundle.preprocessing).image for c in (taken.counts, counts))
    np.testing.assert_allclose(two, one, atol=1e-4)  # what the models see is the same
    other = analyse(counts, taken.pixel_size_nm, bundle)
    assert len(other.particles) == len(analysis.particles) > 3
    for one, two in zip(analysis.particles, other.particles, strict=True):
        # Eight bits may round an outline by a pixel; only where the forest is in doubt may that move a class.
        np.testing.assert_allclose(two.probabilities, one.probabilities, atol=0.1)
        assert two.particle_class == one.particle_class or one.abstained


@pytest.mark.parametrize("unit", [1e-30, 1e-8, 1e14, 1e30, 1e290])
def test_no_unit_is_too_large_or_too_small(bundle, unit: float) -> None:
    counts = np.random.default_rng(5).normal(1000, 50, (128, 128))
    quality = analyse(counts * unit, 0.05, bundle).quality
    usual = analyse(counts, 0.05, bundle).quality
    assert quality["mean_counts"] == pytest.approx(usual["mean_counts"] * unit, rel=1e-5)
    assert quality["relative_spread"] == pytest.approx(usual["relative_spread"], rel=1e-4)
    assert quality["verdict"] == "ok"


@pytest.mark.parametrize("kind", NEGATIVES)
def test_frames_that_hold_nothing_count_nothing(bundle, kind: str) -> None:
    """No particle is *counted* on them: what little is marked is not called `no` or `yes`."""
    image = NEGATIVES[kind](384, np.random.default_rng(99))
    result = analyse(image, 0.05, bundle)
    assert not [p for p in result.particles if p.particle_class in ("no", "yes")]


def test_a_constant_frame_is_blank(bundle) -> None:
    result = analyse(np.full((256, 256), 9, np.uint16), 0.05, bundle)
    assert result.particles == ()
    assert result.quality["verdict"] == "constant"


@pytest.mark.parametrize(
    ("image", "pixel", "says"),
    [
        (np.zeros((10, 10)), 0.05, "too small"),
        (np.zeros((64, 64)), 0.01, "too small"),
        (np.zeros((4, 64, 64)), 0.05, "no picture"),
        (np.zeros((64, 64), complex), 0.05, "no picture"),
        (np.full((64, 64), np.nan), 0.05, "not finite"),
        (np.zeros((64, 64)), 0.0, "no pixel size"),
    ],
)
def test_what_cannot_be_judged_is_said(bundle, image: np.ndarray, pixel: float, says: str) -> None:
    with pytest.raises(CannotAnalyse, match=says):
        analyse(image, pixel, bundle)


def test_unknown_materials_are_named(bundle, taken) -> None:
    with pytest.raises(CannotAnalyse, match="there are CdSe"):
        analyse(taken.counts, taken.pixel_size_nm, bundle, "unobtainium")
    assert analyse(taken.counts, taken.pixel_size_nm, bundle, "cdse").particles


def test_the_shipped_figures_are_at_least_the_floor() -> None:
    """What the bundle says of itself was measured on held-out specimens when it was made (`train forest`).

    The floor of macro-F1 is that of regions as the network marks them, among which false ones are few, so that `empty`
    is the hardest class.
    """
    _, details = describe()
    assert details["metrics"]["held_out"]["macro_f1"] >= 0.70
    assert details["unet"]["training"]["validation"]["dice_lattice"] >= 0.90
    for k, n in details["rates"].values():
        assert 0 < k <= n


def test_a_folder_without_a_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no data set"):
        examples_by_split(tmp_path, ["train"])
    (tmp_path / "a.h5").write_text("something else")
    with pytest.raises(ModelError, match=r"a\.h5 can't be read"):
        examples_by_split(tmp_path, ["train"])
    assert as_rows([], ["a"]).shape == (0, 1)
