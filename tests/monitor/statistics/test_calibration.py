"""The pixel size against the spacings of simulated particles, for pixel sizes that are right and that are wrong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.features.measure import measure
from models.preprocess import Preprocessing, canonical
from monitor.statistics.calibration import FEWEST, pixel_size_doubt, spacings_of
from sim.microscope.library import load_library
from sim.microscope.play import Story, Taken, take_frames

ERRORS = (0.0, 0.03, -0.03, 0.05, -0.05)


@pytest.fixture(scope="module")
def frames() -> list[Taken]:
    """Frames of CdSe particles, with the label image of the truth."""
    return list(take_frames(Story(frames=14, size=768, seed=31), load_library()))


@pytest.fixture(scope="module")
def seen(frames: list[Taken]) -> dict[float, list[dict[str, float]]]:
    """Features of all particles, by the error of the pixel size."""
    return {error: features(frames, error) for error in ERRORS}


def features(frames: list[Taken], error: float) -> list[dict[str, float]]:
    """Of all particles, where the pixel size is said too large by this share."""
    settings = Preprocessing()
    found: list[dict[str, float]] = []
    for taken in frames:
        assert taken.labels is not None
        prepared = canonical(taken.counts, taken.pixel_size_nm * (1 + error), settings)
        size = prepared.image.shape[::-1]
        labels = cv2.resize(taken.labels, size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
        kept = [label for label in np.unique(labels) if label and (labels == label).sum() > 300]
        numbered = np.zeros_like(labels)
        for number, label in enumerate(kept, start=1):
            numbered[labels == label] = number
        found += [one.values for one in measure(prepared.image, numbered, settings.pixel_size_nm)]
    return found


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("material", [None, "CdSe"])
def test_a_wrong_pixel_size_is_found_and_a_right_one_is_left(
    error: float, material: str | None, seen: dict[float, list[dict[str, float]]]
) -> None:
    found = spacings_of(seen[error], material)
    if found is None:
        # CdSe that reads 3 % small has nearly the spacings of PbS: without a name it may be either.
        assert (material, error) == (None, -0.03)
        return
    assert found.material == "CdSe"
    assert found.particles >= FEWEST
    assert found.factor == pytest.approx(1 + error, abs=0.008)
    said = pixel_size_doubt(seen[error], 0.025 * (1 + error), material)
    if error == 0:
        assert found.agrees
        assert said is None
        assert "agree with 0.025 nm/px" in found.sentence(0.025)
    else:
        assert said is not None
        assert said.startswith(
            f"spacings read {abs(found.factor - 1):.0%} {'large' if error > 0 else 'small'}"
        )
        assert f"is {0.025 * (1 + error):.4g} nm/px right?" in said
        right = float(said.rpartition(" ")[2])
        assert right == pytest.approx(0.025, rel=0.008)


def test_too_few_particles_say_nothing(seen: dict[float, list[dict[str, float]]]) -> None:
    assert spacings_of(seen[0.03][: FEWEST - 1]) is None
    assert spacings_of([]) is None


def test_another_material_than_the_named_one_says_nothing(seen: dict[float, list[dict[str, float]]]) -> None:
    assert spacings_of(seen[0.0], "Pt") is None
    assert spacings_of(seen[0.0], "unobtainium") is None


@pytest.mark.parametrize("seed", range(5))
def test_spots_at_any_frequency_say_nothing(seed: int) -> None:
    """Carbon's speckle has no lines."""
    spots = np.random.default_rng(seed).uniform(2, 5.4, 60)
    assert spacings_of([{"peak_first_k": float(k), "peak_0": 5.0} for k in spots]) is None


def test_one_line_alone_leaves_more_than_one_answer() -> None:
    """Spots of one spacing may be any of several planes."""
    spots = np.random.default_rng(0).normal(2.95, 0.02, 40)
    assert spacings_of([{"peak_first_k": float(k), "peak_0": 5.0} for k in spots]) is None
