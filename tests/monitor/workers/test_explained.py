"""A recorded particle is explained as it was judged, or a sentence says why it can't be."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.analysis import analyse
from models.bundle import load_bundle
from monitor.workers.explained import Explained, NotExplained, ToExplain, explained
from tests.dashboard.filed import PIXEL_NM, crystal


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ToExplain:
    """The particle in the middle of a frame, as a session would have recorded it."""
    path = tmp_path_factory.mktemp("frames") / "a.npy"
    np.save(path, crystal())
    bundle = load_bundle(None, "cpu")
    found = analyse(crystal(), PIXEL_NM, bundle, "CdSe").particles
    particle = max(found, key=lambda each: each.area_nm2)
    status = path.stat()
    return ToExplain(
        path, 0, status.st_size, status.st_mtime_ns, "frames", 400, 400, PIXEL_NM, "CdSe", bundle.id, Path("gone"),
        particle.label + 7, particle.bbox, "CdSe",
    )  # fmt: skip


def test_what_was_recorded_is_found_again_and_explained(task: ToExplain) -> None:
    """Also where its number was another, and its bundle is now the shipped one."""
    told = explained(task)
    assert isinstance(told, Explained)
    stack = told.explanation.stack
    assert stack is not None
    # Layers lie along the frame's rows, 1 / 2.851 nm apart; the disc of 2.1 nm is in the frame's middle.
    assert abs(stack.along[0]) == pytest.approx(1, abs=0.01)
    assert stack.d_nm == pytest.approx(1 / 2.851, rel=0.01)
    assert told.middle == (pytest.approx(200, abs=8), pytest.approx(200, abs=8))
    assert told.reach_nm == pytest.approx(2.1, abs=0.4)
    half = (stack.first_nm + stack.layers[len(stack.layers) // 2].at_nm) * stack.along[0]
    assert told.origin[0] + half / PIXEL_NM == pytest.approx(200, abs=0.6 / 2.851 / PIXEL_NM)
    assert {"0002", "10-10"} & {spot.index for spot in told.explanation.spots}

    spectrum = np.asarray(Image.open(io.BytesIO(told.spectrum)))
    assert spectrum.shape == (256, 256)
    bins = 256 / (2 * told.spectrum_per_nm)
    row, col = (round(128 + each * bins) for each in told.explanation.spots[0].at_per_nm)
    assert spectrum[row, col] > 200 > 60 > np.median(spectrum)


def test_why_it_can_not_be_explained(task: ToExplain, tmp_path: Path) -> None:
    for wrong, said, file in (
        (replace(task, path=tmp_path / "b.npy"), "b.npy is no longer there", False),
        (replace(task, file_size=3), "a.npy was changed after it was judged", False),
        (replace(task, height=401), "holds another picture", False),
        (
            replace(task, bundle="cdse-none-1"),
            "the bundle cdse-none-1 that judged it is no longer in gone",
            True,
        ),
        (replace(task, bbox=(0, 0, 9, 9)), "does not show this particle", True),
        (replace(task, material="butter"), "no material butter", True),
    ):
        told = explained(wrong)
        assert isinstance(told, NotExplained)
        assert said in told.reason
        assert told.file is file
        assert told.reason.endswith(".")
