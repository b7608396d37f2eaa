"""A session's label images as one ZIP file of int32 TIFFs, drawn from the outlines in the record."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from monitor.record.reader import RecordReader
from monitor.record.whole_file import whole_file

#: Of pixels so near the outline that they have to be looked at one by one.
_NEAR = 2


def label_image(
    shape: tuple[int, int], outlines: Sequence[tuple[int, Sequence[Sequence[float]]]]
) -> npt.NDArray[np.int32]:
    """Outlines filled: 0 is background, every other value a particle's number in its frame.

    Parameters
    ----------
    shape : rows and columns [px].
    outlines : the number of each particle, and its corners as (row, column) [px].
    """
    labels = np.zeros(shape, np.int32)
    for number, corners in outlines:
        if len(corners) >= 3:
            _fill(labels, np.asarray(corners, float), number)
    return labels


def _fill(labels: npt.NDArray[np.int32], corners: npt.NDArray[np.float64], number: int) -> None:
    """Give the number to every pixel whose centre is within the outline.

    That is asked of each pixel near the outline alone: what lies deeper inside is filled as a whole.
    """
    from skimage.measure import points_in_poly  # takes its time to be imported

    first = np.floor(corners.min(axis=0)).astype(int)
    beyond = np.ceil(corners.max(axis=0)).astype(int) + 1
    inside = np.zeros(tuple(beyond - first), np.uint8)
    # OpenCV takes columns first, and whole pixels, so that the outline is less than one pixel away from where it is.
    ends = [np.round((corners - first)[:, ::-1]).astype(np.int32)]
    cv2.fillPoly(inside, ends, 1)
    cv2.polylines(inside, ends, True, _NEAR, 5)
    near = inside == _NEAR
    inside[near] = points_in_poly((np.argwhere(near) + first)[:, ::-1], corners[:, ::-1])  # type: ignore[no-untyped-call]
    start, end = np.clip(first, 0, labels.shape), np.clip(beyond, 0, labels.shape)
    within = tuple(slice(a, b) for a, b in zip(start, end, strict=True))
    part = tuple(slice(a, b) for a, b in zip(start - first, end - first, strict=True))
    labels[within][inside[part] != 0] = number


def export_label_images(session: Path, to: Path) -> int:
    """Write a label image of every analysed frame into a ZIP file; returns how many there are.

    The file `frames.csv` in it tells which frame each is of. Regions called `empty` are left out.

    Raises
    ------
    NoSession
        There is no session in that folder.
    InputError
        The file can't be written.
    """
    with (
        whole_file(to) as part,
        RecordReader(session) as record,
        record.glance(),
        zipfile.ZipFile(part, "w") as archive,
    ):
        return _write(record, archive)


def _write(record: RecordReader, archive: zipfile.ZipFile) -> int:
    import csv

    import tifffile

    told = io.StringIO(newline="")
    table = csv.writer(told)
    table.writerow(("label_image", "frame_id", "path", "frame_index", "pixel_size_nm"))
    frames = record.rows(
        "SELECT f.id, f.path, f.item, r.height, r.width, r.pixel_size_nm FROM results r"
        " JOIN frames f ON f.id = r.frame_id ORDER BY f.id"
    )
    for frame, path, item, height, width, pixel_size_nm in tqdm(frames, unit="frame", disable=None):
        particles = record.rows(
            "SELECT label, outline FROM particles WHERE frame_id = ? AND class <> 'empty' ORDER BY label",
            frame,
        )
        labels = label_image((height, width), [(label, json.loads(outline)) for label, outline in particles])
        picture = io.BytesIO()
        tifffile.imwrite(picture, labels, compression="zlib")
        name = f"frame-{frame:06d}.tif"
        archive.writestr(name, picture.getvalue())
        text = os.fsdecode(path).encode("utf-8", "replace").decode()
        table.writerow((name, frame, text, item, pixel_size_nm))
    archive.writestr("frames.csv", told.getvalue())
    return len(frames)
