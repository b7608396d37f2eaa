"""The report on true regions: what its figures mean, and that a leak or a lie in them would show."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from models.results import CLASSES
from models.studies.baselines import cnn_probabilities, published_features
from models.studies.crops import SIDE, Crops, collect, harder, true_regions
from models.studies.forest_report import compare, figures, folds, recall_at
from models.studies.forest_tables import picture, tables_of


@pytest.fixture(scope="module")
def told(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The discs with all that the simulation says of a particle; a class each by specimen and label."""
    folder = tmp_path_factory.mktemp("told")
    for path in discs.glob("*.h5"):
        with h5py.File(path) as source, h5py.File(folder / path.name, "w") as copy:
            copy.attrs.update(source.attrs)
            copy["images"], copy["labels"] = source["images"][:], source["labels"][:]
            about = [json.loads(text) for text in source["about"].asstr()[:]]
            for n, record in enumerate(about):
                record["conditions"]["defocus_nm"] = 5.0
                for particle in record["particles"]:
                    name = ("no", "yes", "null")[(n // 2 + particle["label"]) % 3]
                    faults = [{"kind": "I1", "depth_layers": 4.0}] if name == "yes" else []
                    particle |= {"class": name, "snr": 9.0, "zone_tilt_deg": 1.0, "faults": faults}
            copy.create_dataset(
                "about", data=[json.dumps(record) for record in about], dtype=h5py.string_dtype()
            )
    return folder


@pytest.fixture(scope="module")
def crops(told: Path) -> Crops:
    return collect(told, draws=2)


def test_every_scored_particle_gives_a_row(crops: Crops) -> None:
    counts = {name: int((crops.classes == i).sum()) for i, name in enumerate(CLASSES)}
    assert counts["yes"] + counts["no"] + counts["null"] == 24  # two discs in each of twelve images
    assert crops.features.shape == (len(crops.classes), len(crops.names))
    assert crops.crops.shape == (len(crops.classes), SIDE, SIDE)
    assert crops.boxes.shape == (len(crops.classes), 5)
    assert all(
        (about["particle"] is None) == (c == 0) for about, c in zip(crops.about, crops.classes, strict=True)
    )


def test_no_specimen_stands_on_both_sides(crops: Crops) -> None:
    for learn, check in folds(crops, 0):
        assert not set(crops.specimen[learn]) & set(crops.specimen[check])


def test_the_report_holds_every_classifier_and_condition(crops: Crops, told: Path) -> None:
    hard = collect(told, draws=1, hard=True)
    result = compare(crops, hard, trees=5, epochs=1, seed=0)
    assert list(result["classifiers"]) == [
        "forest", "forest without the stack", "radial profile, peaks, Sobel", "published recipe", "small CNN",
    ]  # fmt: skip
    dose = result["by_condition"]["dose [e/Å²]"]
    assert sum(f[name]["regions"] for f in dose.values() for name in ("yes", "no", "null")) == 24
    assert result["by_condition"]["kind of the fault"]["I1"]["yes"]["regions"] > 0
    json.dumps(result, allow_nan=False)
    text = "\n".join(table.as_text() for table in tables_of(result))
    assert "published recipe" in text
    assert "hard set" in text
    assert len(picture(result).axes) == 12


def test_a_specimen_is_drawn_whole_by_the_bootstrap() -> None:
    """Forty images of one specimen say no more than one does: the interval must not shrink with them."""
    truth = np.tile([2, 3], 10)
    right = np.eye(4)[truth]
    wrong = np.eye(4)[np.where(truth == 3, 2, 3)]
    few = np.where((np.arange(20) // 2 % 5 == 0)[:, None], wrong, right)
    specimen = np.array([f"s{i // 2}" for i in range(20)])
    once = figures(truth, few, specimen, 0)
    many = figures(np.repeat(truth, 20), np.repeat(few, 20, axis=0), np.repeat(specimen, 20), 0)
    assert once["macro_f1"] == pytest.approx(many["macro_f1"])
    width = [np.ptp(f["macro_f1_interval"]) for f in (once, many)]
    assert width[1] == pytest.approx(width[0], rel=0.2)
    assert width[0] > 0.1


def test_recall_at_a_precision() -> None:
    true = np.array([True, True, False, True, False, False])
    probability = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert recall_at(true, probability, 0.95) == pytest.approx(2 / 3)
    assert recall_at(true, probability, 0.75) == 1.0
    # All alike: no threshold parts them.
    assert recall_at(true, np.full(6, 0.5), 0.9) == 0.0


def test_a_poor_session_is_noisier_and_its_fringes_are_weaker() -> None:
    rng = np.random.default_rng(0)
    image = np.ones((128, 128), np.float32)
    labels = np.zeros((128, 128), np.uint8)
    labels[40:80, 40:80] = 1
    poor, moved, left = harder(image, labels, 1000.0, np.ones((128, 128), np.float32), rng)
    assert poor.std() == pytest.approx((1 / 7.5 - 1 / 250) ** 0.5, rel=0.1)  # 30 e/Å² on 0.25 Å²
    assert 1444 <= moved.sum() <= 1764
    assert 0 < left < (30 / 1000) ** 0.5
    calm, _, as_it_was = harder(image, labels, 20.0, np.ones((128, 128), np.float32), rng)
    assert calm.std() < 1e-3
    assert as_it_was > 0.6


def test_regions_are_numbered_without_gaps() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[5:20, 5:20], labels[30:50, 30:50] = 3, 7
    told = [
        {"label": 3, "class": "no", "whole": True},
        {"label": 7, "class": None, "whole": True},
    ]
    regions, scored = true_regions(labels, told, np.random.default_rng(0))
    assert regions[10, 10] == 1
    assert regions[40, 40] == 2
    assert [(r, name) for r, name, truth in scored if truth] == [(1, "no")]


def test_the_published_figures_change_with_the_boxs_size() -> None:
    """The defect that SCIENCE tells of, so that the baseline is what it says it is."""
    rng = np.random.default_rng(0)
    small, large = (published_features(rng.normal(1, 0.1, (n, n))) for n in (75, 250))
    assert large[0] > 3 * small[0]
    assert large[2] == pytest.approx(small[2], rel=0.05)


def test_the_network_learns_what_is_plain() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(120) % 4
    crops = (rng.normal(0, 0.3, (120, SIDE, SIDE)) + 2.0 * classes[:, None, None]).astype(np.float16)
    found = cnn_probabilities(crops[:80], classes[:80], crops[80:], epochs=20, seed=0)
    assert found.shape == (40, 4)
    assert (found.argmax(axis=1) == classes[80:]).mean() > 0.7
