"""Read labelled data sets: HDF5 shards with `images`, `labels` and `about` (the schema is written in each shard)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from models.errors import ModelError

FORMAT = "faultwatch data set 3"


@dataclass(frozen=True)
class Examples:
    """Images of one split of a data set."""

    images: npt.NDArray[np.float16]
    """(N, 256, 256) electrons, divided by the image's mean."""
    labels: npt.NDArray[np.uint8]
    """(N, 256, 256) instances, 0 background."""
    about: list[dict[str, Any]]
    """Specimen, conditions and particles of each image."""
    pixel_size_nm: float
    digest: str
    """SHA-256 over the names and contents of the shards that were read."""

    def __len__(self) -> int:
        return len(self.about)


def shards_of(data: Path) -> list[Path]:
    """The shards in a folder, in a fixed order.

    Raises
    ------
    ModelError
        There are none.
    """
    shards = sorted(data.glob("*.h5"))
    if not shards:
        raise ModelError(f"{data} holds no data set; make one with: faultwatch simulate {data}")
    return shards


@contextmanager
def open_shard(path: Path) -> Iterator[h5py.File]:
    """One shard, open for reading.

    Raises
    ------
    ModelError
        The file is damaged, or no shard of a data set.
    """
    try:
        shard = h5py.File(path)
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error}") from error
    with shard:
        if shard.attrs.get("format") != FORMAT:
            raise ModelError(f"{path} is no shard of a data set (format {shard.attrs.get('format')!r})")
        yield shard


def examples_by_split(data: Path, splits: Sequence[str], limit: int | None = None) -> Examples:
    """All images of the given splits, read into memory.

    Parameters
    ----------
    limit : read so many shards of each preset at the most.

    Raises
    ------
    ModelError
        A file that is no shard, or no image in these splits.
    """
    images, labels, about = [], [], []
    pixel_size = 0.0
    digest = hashlib.sha256()
    for path in _limited(shards_of(data), limit):
        with open_shard(path) as shard:
            pixel_size = float(shard.attrs["pixel_size_nm"])
            texts = shard["about"].asstr()[:]
            details = [json.loads(text) for text in texts]
            chosen = np.flatnonzero([d["split"] in splits for d in details])
            digest.update(f"{path.name} {shard.attrs['seed']} {len(details)}".encode())
            digest.update("".join(texts).encode())
            if len(chosen):
                images.append(shard["images"][:][chosen])
                labels.append(shard["labels"][:][chosen])
                about += [details[i] for i in chosen]
    if not about:
        raise ModelError(f"{data} holds no image for {' or '.join(splits)}")
    return Examples(np.concatenate(images), np.concatenate(labels), about, pixel_size, digest.hexdigest())


def _limited(shards: list[Path], limit: int | None) -> Iterator[Path]:
    taken: dict[str, int] = {}
    for path in shards:
        preset = path.name.rsplit("-", 1)[0]
        taken[preset] = taken.get(preset, 0) + 1
        if limit is None or taken[preset] <= limit:
            yield path
