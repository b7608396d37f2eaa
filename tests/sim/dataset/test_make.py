"""Data sets: small, but made as large ones are."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from models.examples.shards import examples_by_split
from sim.dataset import make as dataset
from sim.dataset.background import Backgrounds, relative_intensity
from sim.dataset.make import (
    CANONICAL_NM,
    TILE,
    make_shard,
    particle_truth,
    shard_path,
    simulate,
    slab_for,
    split_of,
)
from sim.dataset.presets import PRESETS, Order, Preset
from sim.dataset.sheet import contact_sheet
from sim.optics.conditions import Conditions
from sim.optics.imaging import expected_image, exposure, weaken
from sim.optics.multislice import exit_wave
from sim.specimen.draw import SlabOfCarbon, Specimen, draw_specimen, label_image
from sim.specimen.thickness import mass_thickness

Films = Callable[[Path, int], None]
ORDER = Order(seed=5, draws=2)
SPECIMENS = 3


@pytest.fixture(autouse=True, scope="module")
def thin_slabs() -> object:
    """Slabs of film that are quickly made; their thickness is all that is different."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "SLAB_NM", 1.0)
        lattice = PRESETS["lattice"]
        thin = replace(lattice.recipe, carbon_nm=(0.6, 1.0), diameter_nm=(2.5, 4.0), contamination=0.0)
        patch.setitem(PRESETS, "lattice", Preset(thin, lattice.draws))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    assert simulate(folder, ORDER, specimens=SPECIMENS) == 1
    return folder


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_a_shard_holds_what_its_schema_says(made: Path) -> None:
    with h5py.File(shard_path(made, "lattice", 0)) as shard:
        assert shard["images"].shape == (2 * SPECIMENS, TILE, TILE)
        assert shard["labels"].dtype == np.uint8
        assert shard.attrs["pixel_size_nm"] == CANONICAL_NM
        assert json.loads(shard.attrs["order"])["seed"] == 5
        for image, labels, text in zip(
            shard["images"][:], shard["labels"][:], shard["about"].asstr()[:], strict=True
        ):
            assert float(image.astype(np.float32).mean()) == pytest.approx(1, abs=0.01)
            about = json.loads(text)
            assert about["specimen"].startswith("lattice-5-")
            assert about["conditions"]["camera"]["dqe"] > 0
            assert {p["label"] for p in about["particles"]} == set(np.unique(labels)) - {0}
            for p in about["particles"]:
                assert p["class"] in ("yes", "no", "null", None)
                assert {"material", "zone", "faults", "snr", "whole", "centre_rc"} <= set(p)
                if p["whole"]:
                    rows, cols = np.nonzero(labels == p["label"])
                    apart = np.hypot(rows.mean() - p["centre_rc"][0], cols.mean() - p["centre_rc"][1])
                    assert apart * CANONICAL_NM < 1.0


def test_settings_that_came_later_leave_earlier_orders_as_they_were() -> None:
    assert not {"kinds", "split"} & set(json.loads(Order().as_json()))
    assert json.loads(Order(kinds="stacking", split="test").as_json())["kinds"] == "stacking"


def test_stacking_faults_alone_can_be_counted() -> None:
    """A particle with twins alone is `yes` among planar faults and `no` among stacking faults."""
    recipe = replace(PRESETS["lattice"].recipe, materials={"Au": 1.0}, near_zone=1.0, faulted=1.0)
    changed = 0
    for seed in range(5):
        specimen = draw_specimen(recipe, None, np.random.default_rng(seed))
        clean = expected_image(exit_wave(specimen, 256), 0.05, Conditions())
        told = [
            particle_truth(specimen, label_image(specimen, 256), clean, 0.05, Conditions(), kinds)
            for kinds in ("planar", "stacking")
        ]
        for one, other in zip(*told, strict=True):
            twins_alone = {fault["family"] for fault in one["faults"]} == {"twin boundary"}
            expected = "no" if one["class"] == "yes" and twins_alone else one["class"]
            assert other["class"] == expected
            changed += other["class"] != one["class"]
    assert changed >= 1


def test_all_specimens_can_be_of_one_split(tmp_path: Path) -> None:
    make_shard(tmp_path, Order(seed=5, draws=1, split="test"), 0, 2)
    with h5py.File(shard_path(tmp_path, "lattice", 0)) as shard:
        assert [json.loads(text)["split"] for text in shard["about"].asstr()[:]] == ["test", "test"]


def test_particles_of_other_zones_are_specimens_of_their_own() -> None:
    recipe = PRESETS["zones"].recipe
    rng = np.random.default_rng(0)
    drawn = [draw_specimen(recipe, None, rng).particles for _ in range(120)]
    assert {len(particles) for particles in drawn} == {1}
    zones = {p.particle.zone for (p,) in drawn if p.particle.orientation != "random"}
    assert {"[0001]", "[10-10]", "[100]", "[111]", "[112]"} <= zones
    assert any(p.particle.orientation == "random" for (p,) in drawn)
    resolved = sum(p.particle.seen.resolved_weight > 0.4 for (p,) in drawn)
    assert resolved < 0.35 * len(drawn)


def test_the_same_order_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    simulate(tmp_path, ORDER, specimens=SPECIMENS)
    assert _digest(shard_path(tmp_path, "lattice", 0)) == _digest(shard_path(made, "lattice", 0))
    other = tmp_path / "other"
    other.mkdir()
    make_shard(other, replace(ORDER, seed=6), 0, 1)
    with h5py.File(shard_path(other, "lattice", 0)) as a, h5py.File(shard_path(made, "lattice", 0)) as b:
        assert (a["images"][0] != b["images"][0]).any()


def test_it_goes_on_where_it_was_and_keeps_to_its_order(made: Path) -> None:
    before = _digest(shard_path(made, "lattice", 0))
    assert simulate(made, ORDER, specimens=SPECIMENS) == 0
    assert _digest(shard_path(made, "lattice", 0)) == before
    with pytest.raises(ValueError, match="another order"):
        simulate(made, replace(ORDER, draws=3), specimens=SPECIMENS)
    number = int(next(made.glob("carbon-train-*.npz")).stem[-1])
    with pytest.raises(ValueError, match="from seed 5"):
        slab_for(made, 12.8, 6, "train", number)


def test_an_interrupted_shard_leaves_nothing_half_made(made: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "label_image", stop)
        with pytest.raises(KeyboardInterrupt):
            simulate(tmp_path, ORDER, specimens=1)
    assert not list(tmp_path.glob("*.h5"))


def test_splits_are_by_specimen_and_have_films_of_their_own(made: Path) -> None:
    assert [split_of(i) for i in range(10)].count("train") == 8
    assert {split_of(8), split_of(9)} == {"validation", "test"}
    ours, theirs = (slab_for(made, 12.8, 5, split, 0).positions for split in ("train", "test"))
    assert not np.array_equal(ours[:100], theirs[:100])


def test_a_wider_field_is_laid_out_with_copies_of_one_slab(made: Path) -> None:
    narrow, wide = slab_for(made, 12.8, 5, "train", 0), slab_for(made, 25.6, 5, "train", 0)
    assert len(wide.positions) == 4 * len(narrow.positions)
    assert wide.positions[:, :2].max() > 25


def test_training_reads_what_was_made(made: Path) -> None:
    examples = examples_by_split(made, ["train"])
    assert len(examples) == 2 * SPECIMENS
    assert examples.pixel_size_nm == CANONICAL_NM


def test_the_contact_sheet_shows_the_particles(made: Path) -> None:
    with Image.open(made / "contact-sheet-lattice.png") as sheet:
        assert sheet.size[0] > 1500
    drawn = np.asarray(contact_sheet([shard_path(made, "lattice", 0)]))
    # Grey images, coloured outlines.
    assert (np.ptp(drawn.astype(int), axis=2) > 60).sum() > 300


def test_an_order_changes_what_it_says() -> None:
    changed = Order(near_zone=1.0, materials={"rocksalt:Pb:S:0.5936": 1.0}, draws=1).preset_as_ordered()
    assert (changed.recipe.near_zone, changed.recipe.named_zone, changed.draws) == (1.0, 0.0, 1)
    slab = SlabOfCarbon(np.zeros((0, 3), np.float32), 12.8, 10.0)
    recipe = replace(changed.recipe, particles=(2, 2), no_particle=0.0)
    for placed in draw_specimen(recipe, slab, np.random.default_rng(0)).particles:
        assert placed.particle.material.polytype == "rock salt"
    with pytest.raises(ValueError, match="no preset"):
        Order("paper").preset_as_ordered()


def test_several_processes_at_work(tmp_path: Path, sparse_films: Films) -> None:
    """The command from outside, on films that are there already."""
    sparse_films(tmp_path, 5)
    told = subprocess.run(
        [sys.executable, "-m", "faultwatch", "simulate", str(tmp_path), "--preset", "bare", "--draws", "1",
         "--specimens", "2", "--seed", "5", "--processes", "2", "--phonons", "2"],
        capture_output=True, text=True, timeout=250, check=True,
    )  # fmt: skip
    assert "1 shards made" in told.stdout
    assert len(examples_by_split(tmp_path, ["train"])) == 2


def test_a_dask_cluster_at_work(tmp_path: Path, sparse_films: Films) -> None:
    from distributed import LocalCluster

    sparse_films(tmp_path, 5)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp://") as empty,
        pytest.raises(ValueError, match="start some with: dask worker tcp://"),
    ):
        simulate(tmp_path, Order(seed=5, draws=1), specimens=1, scheduler=empty.scheduler_address)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp://"
    ) as cluster:
        made = simulate(tmp_path, Order(seed=5, draws=1), specimens=1, scheduler=cluster.scheduler_address)
    assert made == 1
    alone = tmp_path / "alone"
    sparse_films(alone, 5)
    make_shard(alone, Order(seed=5, draws=1), 0, 1)
    assert _digest(shard_path(tmp_path, "lattice", 0)) == _digest(shard_path(alone, "lattice", 0))


# -- real frames of empty support ------------------------------------------------------------------------


def test_real_support_lies_under_the_particles(tmp_path: Path) -> None:
    """Stripes that no carbon has show up in the images of a data set laid on them."""
    stripes = 100 * (1 + 0.3 * np.sin(np.arange(600) / 600 * 2 * np.pi * 60))[None, :].repeat(600, 0)
    real = tmp_path / "real"
    real.mkdir()
    tifffile.imwrite(real / "empty.tif", stripes.astype(np.float32))
    Backgrounds((relative_intensity(stripes, 0.05),)).save(tmp_path)
    make_shard(tmp_path, replace(ORDER, background=1.0), 0, 2)
    with h5py.File(shard_path(tmp_path, "lattice", 0)) as shard:
        images = shard["images"][:].astype(np.float32)
        assert all(json.loads(text)["support"] == "real frame" for text in shard["about"].asstr()[:])
    spectrum = np.abs(np.fft.fft2(images - images.mean(axis=(1, 2), keepdims=True)))
    period = round(256 * 60 / 600)
    along = np.maximum(
        spectrum[:, 0, period - 1 : period + 2].max(axis=1),
        spectrum[:, period - 1 : period + 2, 0].max(axis=1),
    )
    assert (along > 8 * np.median(spectrum, axis=(1, 2))).all()


def test_support_that_can_not_serve_is_refused() -> None:
    with pytest.raises(ValueError, match="field"):
        relative_intensity(np.ones((64, 64)), 0.05)
    with pytest.raises(ValueError, match="blank"):
        relative_intensity(np.ones((512, 512)), 0.05)
    with pytest.raises(ValueError, match="again"):
        Backgrounds.load(Path("nowhere"))


def test_no_real_frame_serves_two_splits() -> None:
    frames = Backgrounds(tuple(np.full((300, 300), i, np.float32) for i in range(6)))
    values = {s: {float(f[0, 0]) for f in frames.of_split(s).frames} for s in ("train", "validation", "test")}
    assert values == {"train": {0, 1, 2, 3}, "validation": {4}, "test": {5}}


# -- thickness and contrast -------------------------------------------------------------------------------


def test_thickness_weakens_the_beam_as_the_exponential_says() -> None:
    slab = SlabOfCarbon(np.zeros((0, 3), np.float32), 6.4, 1.0)
    recipe = replace(PRESETS["lattice"].recipe, side_nm=6.4, materials={"Au": 1.0}, particles=(1, 1),
                     no_particle=0.0, polycrystal=0.0, clusters=0.0, soot=0.0, contamination=0.0)  # fmt: skip
    specimen: Specimen = draw_specimen(recipe, slab, np.random.default_rng(1))
    gold_nm = mass_thickness(specimen, 256)
    particle = specimen.particles[0].particle
    inside = label_image(specimen, 256) > 0
    volume = len(particle.positions) / 58.98
    assert gold_nm.sum() * (6.4 / 256) ** 2 == pytest.approx(volume, rel=0.01)
    assert gold_nm.max() <= 1.15 * np.ptp(particle.positions[:, 2])
    wave = exit_wave(specimen, 256)
    clear, weak = (exposure(wave, gold_nm, 0.025, Conditions(absorption_per_nm=a)) for a in (0.0, 0.05))
    np.testing.assert_allclose(weak, clear * np.exp(-0.05 * gold_nm), rtol=1e-4)
    assert weak[inside].mean() < 0.95 * clear[inside].mean()


def test_the_stobbs_factor_divides_contrast_and_keeps_the_mean() -> None:
    image = np.random.default_rng(0).normal(1, 0.2, (64, 64)).astype(np.float32)
    weak = weaken(image, Conditions(stobbs=2.0))
    assert weak.mean() == pytest.approx(image.mean(), rel=1e-5)
    assert weak.std() == pytest.approx(image.std() / 2, rel=1e-4)
