"""The observer: that visibility means what it says, and that what nobody can see is not the network's fault."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.judge import Judge
from models.preprocess import Preprocessing
from models.segment import Segmentation
from sim.checks.observer import ELEMENT_NM, Exposed, exposures, observe, tables_of, visibility
from sim.optics.conditions import Conditions


def disc(radius: int = 30) -> np.ndarray:
    return np.hypot(*(np.mgrid[:256, :256] - 128)) < radius


def test_visibility_is_contrast_over_shot_noise_on_an_even_ground() -> None:
    mask = disc()
    clean = np.where(mask, 0.9, 1.0).astype(np.float32)
    for dose in (1000.0, 8000.0):
        expected = 0.1 * np.sqrt(dose * ELEMENT_NM**2)
        assert visibility(clean, mask, mask, dose) == pytest.approx(expected, rel=1e-3)


def test_lattice_is_signal_and_the_films_speckle_is_noise() -> None:
    mask = disc()
    fringes = 1 + 0.1 * np.sqrt(2) * np.sin(np.mgrid[:256, :256][0] / 3)
    lattice = np.where(mask, fringes, 1.0).astype(np.float32)
    seen = visibility(lattice, mask, mask, 8000.0)
    assert seen == pytest.approx(0.1 * np.sqrt(8000 * ELEMENT_NM**2), rel=0.05)
    speckle = np.random.default_rng(0).normal(0, 0.1, (256, 256)).astype(np.float32)
    assert visibility(np.where(mask, lattice, lattice + speckle), mask, mask, 8000.0) < 0.5 * seen


@pytest.fixture(scope="module")
def dark_ones() -> Judge:
    """Marks what is much darker than the rest."""
    return Judge(
        lambda image: np.stack([-4 * (image[:, 0] + 0.8)] * 2, axis=1), Preprocessing(), Segmentation()
    )


def test_a_particle_that_nobody_can_see_is_left_out_of_the_visible_ones(dark_ones: Judge) -> None:
    rng = np.random.default_rng(1)
    r, c = np.mgrid[:256, :256]
    labels = (np.hypot(r - 70, c - 70) < 30) + 2 * (np.hypot(r - 180, c - 180) < 30).astype(np.uint8)
    clean = np.where(labels == 1, 0.6, np.where(labels == 2, 0.999, 1.0)).astype(np.float32)
    noisy = clean + rng.normal(0, 0.05, clean.shape).astype(np.float32)
    image = Exposed(
        (noisy, noisy, clean), ((noisy, 0.05), (noisy, 0.05)), labels.astype(np.uint8), {1: 3.0, 2: 3.0},
        replace(Conditions(), dose_e_per_A2=100.0),
    )  # fmt: skip
    result = observe(dark_ones, [image])
    recorded, visible = result["dice"]["all"][0], result["dice"]["all"][3]
    assert recorded < 0.75 < 0.9 < visible
    row = result["recall"]["size 3 to 5 nm"]
    assert (row["particles"], row["visible"], row["recall"][0], row["recall_visible"]) == (2, 0.5, 0.5, 1.0)
    text = "\n".join(table.as_text() for table in tables_of(result))
    assert "visibility 0 to 0.5" in text
    assert " met" in text


def test_all_forms_of_an_image_show_the_same_particles(
    tmp_path: Path, sparse_films: Callable[[Path, int], None]
) -> None:
    sparse_films(tmp_path, 3)
    (image,) = exposures(tmp_path, 3, 1, 1)
    recorded, many, clean = image.counts
    assert recorded.shape == many.shape == clean.shape == image.labels.shape
    likeness = [float(np.corrcoef(one.ravel(), clean.ravel())[0, 1]) for one in (recorded, many)]
    assert likeness[1] > max(0.6, likeness[0])
    assert set(np.unique(image.labels)) - {0} <= set(image.diameters)
