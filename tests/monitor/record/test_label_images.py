"""Label images from outlines, and the ZIP file of a session's."""

import io
import zipfile

import numpy as np
import pytest
from skimage.draw import polygon

import faultwatch
from monitor.errors import InputError
from monitor.record.label_images import export_label_images, label_image


def test_outlines_are_filled_with_their_numbers() -> None:
    square = [(10, 10), (10, 19), (19, 19), (19, 10)]
    labels = label_image((40, 50), [(1, square), (7, [(r + 15, c + 20) for r, c in square]), (9, [(0, 0)])])
    assert labels.shape == (40, 50)
    assert labels.dtype == np.int32
    assert set(np.unique(labels)) == {0, 1, 7}
    assert (labels == 1).sum() == 100
    assert labels[10, 10] == labels[19, 19] == 1
    assert labels[25, 30] == 7


def test_corners_beyond_the_frame_do_not_matter() -> None:
    labels = label_image((20, 20), [(1, [(-5, -5), (-5, 9), (9, 9), (9, -5)])])
    assert (labels == 1).sum() == 100


def test_every_pixel_is_as_the_rule_for_points_in_polygons_has_it() -> None:
    """Also of outlines that cross themselves or leave the frame, with corners between the pixels."""
    rng = np.random.default_rng(3)
    for digits in (0, 2, 15):
        for _ in range(60):
            corners = rng.uniform(-20, 90, (rng.integers(3, 12), 2)).round(digits)
            expected = np.zeros((64, 80), np.int32)
            expected[polygon(*corners.T, expected.shape)] = 5
            assert np.array_equal(label_image((64, 80), [(5, corners.tolist())]), expected)


def test_a_session_becomes_a_zip(record, finished, tmp_path) -> None:
    record.close()
    to = tmp_path / "masks.zip"
    assert export_label_images(record.folder, to) == 0
    with zipfile.ZipFile(io.BytesIO(to.read_bytes())) as archive:
        assert archive.namelist() == ["frames.csv"]
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(InputError, match="can't be written"):
        export_label_images(record.folder, tmp_path / "nowhere" / "masks.zip")


def test_tracks_and_label_images_exclude_each_other(record, tmp_path, capsys) -> None:
    record.close()
    assert faultwatch.main(["export", str(record.folder), "--tracks", "--to", str(tmp_path / "m.zip")]) == 1
    assert "label images" in capsys.readouterr().err
