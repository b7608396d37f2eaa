"""Writers of small files of noise in every format that is read."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

Stack = npt.NDArray[Any]
"""(frames, H, W)"""
Writer = Callable[[Path, Stack, float], Path]
"""Writes a stack with a pixel size [nm] to a path without suffix; returns the file."""


def picture(frames: int = 1, height: int = 24, width: int = 40, dtype: str = "u2", seed: int = 0) -> Stack:
    """(frames, H, W) of noise that differs from frame to frame."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 200, (frames, height, width)).astype(dtype)


#: Type of the pixels to DigitalMicrograph's codes of the image and of the elements of its array.
_DM_TYPES = {
    "i2": (1, 2),
    "f4": (2, 6),
    "u1": (6, 10),
    "i4": (7, 3),
    "u2": (10, 4),
    "u4": (11, 5),
    "i1": (9, 9),
}


class Tags:
    """Builds the tag tree of a DigitalMicrograph file."""

    def __init__(self, version: int) -> None:
        self.version = version

    def long(self, value: int) -> bytes:
        return struct.pack(">q" if self.version == 4 else ">i", value)

    def name(self, kind: int, name: str) -> bytes:
        return struct.pack(">BH", kind, len(name)) + name.encode("latin-1")

    def group(self, name: str | None, *entries: bytes) -> bytes:
        body = b"\1\0"
        if name is not None and self.version == 4:
            body += self.long(sum(map(len, entries)))
        body += self.long(len(entries)) + b"".join(entries)
        return body if name is None else self.name(20, name) + body

    def value(self, name: str, info: list[int], raw: bytes) -> bytes:
        body = b"%%%%" + self.long(len(info)) + b"".join(map(self.long, info)) + raw
        return self.name(21, name) + (self.long(len(body)) if self.version == 4 else b"") + body

    def int(self, name: str, value: int) -> bytes:
        return self.value(name, [5], struct.pack("<I", value))

    def float(self, name: str, value: float) -> bytes:
        return self.value(name, [6], struct.pack("<f", value))

    def text(self, name: str, value: str) -> bytes:
        raw = value.encode("utf-16-le")
        return self.value(name, [20, 4, len(raw) // 2], raw)

    def image(
        self, array: Stack, unit: str, scales: tuple[float, float], *tags: bytes, type_code: int | None = None
    ) -> bytes:
        """An entry of the image list; `array` (H, W) or (frames, H, W); `scales` of rows and columns."""
        code, element = (23, 5) if array.shape[-1] == 4 else _DM_TYPES[array.dtype.str[1:]]
        count = array.size // 4 if code == 23 else array.size
        lengths = list(array.shape[::-1]) if code != 23 else [array.shape[1], array.shape[0]]
        axes = [(scales[1], unit), (scales[0], unit), (1.0, "s")][: len(lengths)]
        dimension = [
            self.group("", self.float("Origin", 0.0), self.float("Scale", s), self.text("Units", u))
            for s, u in axes
        ]
        return self.group(
            "",
            self.group(
                "ImageData",
                self.group("Calibrations", self.group("Dimension", *dimension)),
                self.value("Data", [20, element, count], array.tobytes()),
                self.int("DataType", type_code or code),
                self.group("Dimensions", *(self.int("", n) for n in lengths)),
            ),
            self.group("ImageTags", *tags),
            self.text("Name", "picture"),
        )  # fmt: skip

    def file(self, *images: bytes, thumbnail: int | None = None, extra: tuple[bytes, ...] = ()) -> bytes:
        entries = [self.group("ImageList", *images), *extra]
        if thumbnail is not None:
            entries.append(self.group("Thumbnails", self.group("", self.int("ImageIndex", thumbnail))))
        body = self.group(None, *entries)
        return (
            struct.pack(">i", self.version) + self.long(len(body)) + struct.pack(">i", 1) + body + b"\0" * 8
        )


def dm(version: int) -> Writer:
    def write(path: Path, stack: Stack, pixel_nm: float) -> Path:
        tags = Tags(version)
        thumb = np.full((16, 16, 4), 200, np.uint8)
        images = [
            tags.image(thumb, "", (1.0, 1.0)),
            tags.image(stack[0] if len(stack) == 1 else stack, "nm", (pixel_nm, pixel_nm)),
        ]
        path = path.with_suffix(f".dm{version}")
        path.write_bytes(tags.file(*images, thumbnail=0))
        return path

    return write


def ser(path: Path, stack: Stack, pixel_nm: float) -> Path:
    frames, height, width = stack.shape
    code = {"u1": 1, "u2": 2, "u4": 3, "i1": 4, "i2": 5, "i4": 6, "f4": 7, "f8": 8}[stack.dtype.str[1:]]
    header = struct.pack("<HHHIIII", 0x4949, 0x0197, 0x0210, 0x4122, 0x4152, frames, frames)
    dimension = (
        struct.pack("<IddI", frames, 0.0, 1.0, 0) + struct.pack("<I", 6) + b"Number" + struct.pack("<I", 0)
    )
    at = len(header) + 8 + len(dimension)
    elements, offsets, tags = b"", [], []
    for frame in stack:
        offsets.append(at + 8 * frames + len(elements))
        scale = pixel_nm * 1e-9
        elements += struct.pack("<ddIddIHII", 0.0, scale, 0, 0.0, scale, 0, code, width, height)
        elements += frame[::-1].tobytes()
        tags.append(at + 8 * frames + len(elements))
        elements += struct.pack("<HHI", 0x4152, 0, 1_318_987_126)
    lists = struct.pack(f"<{2 * frames}I", *offsets, *tags)
    path = path.with_name(f"{path.name}_1.ser")
    path.write_bytes(header + struct.pack("<II", at, 1) + dimension + lists + elements)
    return path


def mrc(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".mrc")
    with mrcfile.new(path) as file:
        file.set_data(stack if len(stack) > 1 else stack[0])
        file.voxel_size = pixel_nm * 10
    return path


def tif(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".tif")
    with tifffile.TiffWriter(path) as file:
        for frame in stack:
            file.write(frame, contiguous=False, description=json.dumps({"pixel_size_nm": pixel_nm}))
    return path


def imagej(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".tif")
    tifffile.imwrite(path, stack, imagej=True, resolution=(1 / pixel_nm,) * 2, metadata={"unit": "nm"})
    return path


def npy(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".npy")
    np.save(path, stack if len(stack) > 1 else stack[0], allow_pickle=False)
    return path


def velox(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".emd")
    metre = str(pixel_nm * 1e-9)
    about = {
        "BinaryResult": {
            "PixelSize": {"width": metre, "height": metre},
            "PixelUnitX": "m",
            "PixelUnitY": "m",
            "DetectorIndex": "0",
        },
        "Detectors": {
            "Detector-0": {"DetectorName": "Ceta", "DetectorType": "ImagingDetector", "ExposureTime": "0.8"}
        },
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1575540224"}},
        "Optics": {"NominalMagnification": "1000000"},
    }
    with h5py.File(path, "w") as file:
        file.create_dataset("Version", data=[json.dumps({"format": "Velox", "version": "11"}).encode()])
        group = file.create_group("Data/Image/0123456789abcdef")
        group.create_dataset("Data", data=np.moveaxis(stack, 0, -1), chunks=(*stack.shape[1:], 1))
        column = np.frombuffer(json.dumps(about).encode().ljust(2000, b"\0"), np.uint8)
        group.create_dataset("Metadata", data=np.repeat(column[:, None], len(stack), axis=1))
    return path


def berkeley(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".emd")
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/stack")
        group.attrs["emd_group_type"] = 1
        array = stack if len(stack) > 1 else stack[0]
        group.create_dataset("data", data=array, chunks=array.shape, compression="gzip")
        names = [("t", "[s]", 1.0), ("y", "[n_m]", pixel_nm), ("x", "[n_m]", pixel_nm)][3 - array.ndim :]
        for i, (name, unit, step) in enumerate(names, start=1):
            vector = group.create_dataset(f"dim{i}", data=np.arange(array.shape[i - 1]) * step)
            vector.attrs["name"], vector.attrs["units"] = name, unit
    return path


def by_rosetta(plugin: str, suffix: str) -> Writer:
    """The writer of a plugin of RosettaSciIO."""

    def write(path: Path, stack: Stack, pixel_nm: float) -> Path:
        import importlib

        scales = [("t", 1.0, "s", True), ("y", pixel_nm, "nm", False), ("x", pixel_nm, "nm", False)]
        array = stack if len(stack) > 1 else stack[0]
        axes = [
            {
                "_type": "UniformDataAxis", "name": name, "scale": scale, "offset": 0.0, "units": unit,
                "size": size, "index_in_array": i, "navigate": navigate, "is_binned": False,
            }
            for i, ((name, scale, unit, navigate), size) in enumerate(
                zip(scales[3 - array.ndim :], array.shape, strict=True)
            )
        ]  # fmt: skip
        metadata = {"General": {"title": "picture"}, "Signal": {"signal_type": ""}}
        signal = {
            "data": array, "axes": axes, "metadata": metadata, "original_metadata": {},
            "attributes": {"_lazy": False},
            "package_info": {"package": "none", "package_version": "0"}, "learning_results": {},
            "tmp_parameters": {}, "models": {}, "package": "", "package_version": "",
        }  # fmt: skip
        path = path.with_name(f"{path.name}{suffix}")
        importlib.import_module(f"rsciio.{plugin}").file_writer(str(path), signal)
        return path

    return write


def npz(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".npz")
    np.savez_compressed(path, picture=stack if len(stack) > 1 else stack[0], pixel_size_nm=pixel_nm)
    return path


def packed(path: Path, stack: Stack, pixel_nm: float) -> Path:
    plain = mrc(path.with_name(path.name.replace(".", "-") + "-inside"), stack, pixel_nm)
    path = path.with_name(f"{path.name}.mrc.gz")
    path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    return path


def nexus(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".h5")
    array = stack if len(stack) > 1 else stack[0]
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "image"
        entry["start_time"] = "2026-05-04T12:00:00+00:00"
        group = entry.create_group("image")
        group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "intensity"
        names = ["axis_k", "axis_j", "axis_i"][3 - array.ndim :]
        group.attrs["axes"] = names
        group["intensity"] = array
        for i, name in enumerate(names):
            step, unit = (1.0, "s") if name == "axis_k" else (pixel_nm * 10, "angstrom")
            group[name] = np.arange(array.shape[i]) * step
            group[name].attrs["units"] = unit
    return path


WRITERS: dict[str, Writer] = {
    "npz": npz,
    "mrc.gz": packed,
    "nexus": nexus,
    "dm3": dm(3),
    "dm4": dm(4),
    "ser": ser,
    "mrc": mrc,
    "tif": tif,
    "imagej": imagej,
    "npy": npy,
    "velox": velox,
    "berkeley": berkeley,
    "hspy": by_rosetta("hspy", ".hspy"),
    "rosetta-emd": by_rosetta("emd", ".emd"),
}
#: Formats that do not say a pixel size.
UNSCALED = {"npy"}


def png(path: Path, stack: Stack, pixel_nm: float) -> Path:
    path = path.with_suffix(".png")
    Image.fromarray(stack[0]).save(path, dpi=(96, 96))
    return path


@pytest.fixture
def writers() -> dict[str, Writer]:
    """All writers, by format."""
    return WRITERS


@pytest.fixture
def tags() -> type[Tags]:
    """The builder of DigitalMicrograph files."""
    return Tags


@pytest.fixture(name="picture")
def _picture() -> Callable[..., Stack]:
    """Makes stacks of noise."""
    return picture
