"""A session's label images as one ZIP file of int32 TIFFs, drawn from the outlines in the record."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.record.reader import RecordReader
from monitor.record.whole_file import whole_file


def label_image(
    shape: tuple[int, int], outlines: Sequence[tuple[int, Sequence[Sequence[float]]]]
) -> npt.NDArray[np.int32]:
    """Outlines filled: 0 is background, every other value a particle's number in its frame.

    Parameters
    ----------
    shape : rows and columns [px].
    outlines : the number of each particle, and its corners as (row, column) [px].
    """
    from skimage.draw import polygon  # takes its time to be imported

    labels = np.zeros(shape, np.int32)
    for number, corners in outlines:
        if len(corners) >= 3:
            rows, columns = np.asarray(corners, float).T
            labels[polygon(rows, columns, shape)] = number  # type: ignore[no-untyped-call]
    return labels


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
    for frame, path, item, height, width, pixel_size_nm in frames:
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
