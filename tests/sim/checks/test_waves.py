"""Every wave of a library becomes a test specimen, imaged as a data set is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.examples.rows import truth_of_regions
from models.examples.shards import examples_by_split
from sim.checks.waves import main
from sim.microscope.library import SHIPPED


def test_waves_are_imaged_with_their_truth(tmp_path: Path) -> None:
    assert main([str(SHIPPED), str(tmp_path), "--waves", "2", "--draws", "2", "--seed", "3"]) == 0
    data = examples_by_split(tmp_path, ["test"])
    assert data.images.shape == (4, 256, 256)
    assert [about["specimen"] for about in data.about] == [f"library-3-{n}" for n in (0, 0, 1, 1)]
    for image, labels, about in zip(data.images, data.labels, data.about, strict=True):
        (particle,) = about["particles"]
        assert about["conditions"]["dose_e_per_A2"] >= 20
        assert 2 <= about["carbon_nm"] <= 10.5
        assert np.isfinite(image).all()
        rows, columns = np.nonzero(labels)
        centre = np.array(particle["centroid"]) / 2  # of pixels half as wide
        np.testing.assert_allclose([rows.mean(), columns.mean()], centre, atol=1)
        (seen,) = truth_of_regions(labels.astype(np.int32), labels, about["particles"], True)
        assert seen[1] == (particle["class"] or "unscored")

    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert main([str(SHIPPED), str(tmp_path), "--waves", "2", "--draws", "2", "--seed", "3"]) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_no_library_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none.h5"), str(tmp_path / "out")])
    assert "none.h5" in capsys.readouterr().err
