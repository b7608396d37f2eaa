"""Whole files of every format, small: written here, and real ones where they lie beside the repository."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import tifffile
from PIL import Image

from tests.monitor.read.conftest import WRITERS, Stack, picture

_REAL = Path(__file__).parents[3] / "shared" / "data" / "vendor"
#: Real files larger than this [bytes] would make a run of thousands slow.
_LARGEST_REAL = 400_000


@dataclass(frozen=True)
class Seed:
    """A file to be damaged, and what lies beside it."""

    name: str
    raw: bytes
    opened: str = ""
    """The file that is read, where it is another one: the damaged one is its sidecar."""
    beside: tuple[tuple[str, bytes], ...] = ()
    """Names and bytes of other files, whole."""


def _written(*kinds: str) -> Callable[[Path], list[Seed]]:
    """One frame and three, by the tests' own writers."""

    def make(folder: Path) -> list[Seed]:
        seeds = []
        for kind in kinds:
            for count, dtype in ((3, "u2"), (1, "u1"), (1, "f4")):
                path = WRITERS[kind](folder / f"{kind}{count}{dtype}", picture(count, 68, 76, dtype), 0.05)
                seeds.append(Seed(path.name, path.read_bytes()))
        return seeds

    return make


def _tif(folder: Path) -> list[Seed]:
    """Single pages: compressed in several ways, tiled, large, in the other byte order."""
    ways: tuple[tuple[str | None, dict[str, object], dict[str, object]], ...] = (
        (None, {}, {}), (None, {"bigtiff": True}, {}), (None, {"byteorder": ">"}, {}), (None, {}, {"tile": (16, 16)}),
        ("zlib", {}, {"predictor": True}), ("lzw", {}, {}), ("packbits", {}, {}), ("jpeg", {}, {}), ("zstd", {}, {}),
    )  # fmt: skip
    seeds = []
    for i, (compression, opening, writing) in enumerate(ways):
        path = folder / f"{i}.tif"
        page = picture(1, 68, 76, "u1" if compression == "jpeg" else "u2")[0]
        with tifffile.TiffWriter(path, **opening) as file:
            file.write(page, compression=compression, description='{"pixel_size_nm": 0.05}', **writing)
        seeds.append(Seed(path.name, path.read_bytes()))
    return seeds


def _tvips(folder: Path) -> list[Seed]:
    def film(stack: Stack, header: bool) -> bytes:
        head = struct.pack("<13I", 256, 2, *stack.shape[:0:-1], 16, 0, 0, 1, 1, 15_600, 300_000, 300_000, 60)
        raw = head + b"TVIPS TVIPS ".ljust(204, b"\0") if header else b""
        for number, frame in enumerate(stack):
            raw += struct.pack(
                "<4IfI I5f I2f", number, 1_500_000_000, 250, 0, 0, 300_000, 1, *[0.0] * 5, 0, 0, 0
            )
            raw += frame.tobytes()
        return raw

    whole, part = film(picture(3, 68, 76), True), film(picture(2, 68, 76), False)
    return [
        Seed("film_000.tvips", whole),
        Seed("film_001.tvips", part, beside=(("film_000.tvips", whole),)),
        Seed("film_000.tvips", whole, opened="film_001.tvips", beside=(("film_001.tvips", part),)),
    ]


def _pictures(suffix: str, *modes: str, **how: object) -> Callable[[Path], list[Seed]]:
    def make(folder: Path) -> list[Seed]:
        seeds = []
        for mode in modes:
            grey = Image.fromarray(picture(1, 68, 76, "u1")[0])
            image = Image.fromarray(picture(1, 68, 76, "u2")[0]) if mode == "I;16" else grey.convert(mode)
            out = io.BytesIO()
            image.save(out, "PNG" if suffix == ".png" else "JPEG", dpi=(96, 96), **how)
            seeds.append(Seed(f"{mode.replace(';', '')}{suffix}", out.getvalue()))
        return seeds

    return make


def _hdf5(folder: Path) -> list[Seed]:
    """Every way in which HDF5 lays down an array, and both its superblocks."""
    seeds = []
    ways: tuple[tuple[str, dict[str, object]], ...] = (
        ("earliest", {}), ("latest", {}), ("earliest", {"chunks": (1, 16, 16), "compression": "gzip"}),
        ("latest", {"chunks": (1, 16, 16), "compression": "lzf", "shuffle": True, "fletcher32": True}),
        ("latest", {"maxshape": (None, 68, 76), "chunks": (1, 68, 76)}),
    )  # fmt: skip
    for i, (version, how) in enumerate(ways):
        path = folder / f"plain{i}.h5"
        with h5py.File(path, "w", libver=version) as file:
            data = file.create_dataset("entry/frames", data=picture(3, 68, 76), **how)
            data.attrs["pixel_size_nm"] = 0.05
            file.attrs["note"] = "a text of some length " * 5
        seeds.append(Seed(path.name, path.read_bytes()))
    return seeds + _written("hspy")(folder)


def _emi(folder: Path) -> list[Seed]:
    """The sidecar of a .ser is damaged, not the .ser."""
    path = WRITERS["ser"](folder / "a", picture(2, 68, 76), 0.05)
    about = (
        b"JK\0\2"
        + bytes(40)
        + b"<ObjectInfo><AcquireDate>Fri Nov 22 20:00:00 2013</AcquireDate><AcquireInfo>"
        b"<DwellTimePath>0.5</DwellTimePath></AcquireInfo><ExperimentalDescription><Root><Data><Label>Magnification"
        b"</Label><Value>300000</Value><Unit>x</Unit></Data><Data><Label>Mode</Label><Value>TEM</Value><Unit/></Data>"
        b"</Root></ExperimentalDescription></ObjectInfo>" + bytes(40)
    )
    raw = path.read_bytes()
    return [Seed("a.emi", about, opened=path.name, beside=((path.name, raw),)), Seed("a.emi", about)]


def _mdoc(folder: Path) -> list[Seed]:
    """SerialEM's notes beside a picture are damaged, not the picture."""
    notes = (
        b"PixelSpacing = 0.2\nVoltage = 300\n[T = SerialEM: Digitized on a K3]\n[ZValue = 0]\nExposureTime = 0.5\n"
        b"DateTime = 22-Nov-13  20:00:00\nMagnification = 300000\nExposureDose = 12.5\n[ZValue = 1]\nExposureTime = 1\n"
    )
    raw = WRITERS["mrc"](folder / "a", picture(2, 68, 76, "i2"), 0.05).read_bytes()
    return [Seed("a.mrc.mdoc", notes, opened="a.mrc", beside=(("a.mrc", raw),))]


#: Format, and what makes its files in an empty folder.
MAKERS: dict[str, Callable[[Path], list[Seed]]] = {
    "dm3": _written("dm3"),
    "dm4": _written("dm4"),
    "emd-velox": _written("velox"),
    "emd-berkeley": _written("berkeley", "rosetta-emd"),
    "ser": _written("ser"),
    "emi": _emi,
    "mrc": _written("mrc"),
    "mdoc": _mdoc,
    "tif": _tif,
    "tif-stack": _written("tif", "imagej"),
    "hdf5-hspy": _hdf5,
    "npy": _written("npy"),
    "tvips": _tvips,
    "png": _pictures(".png", "L", "RGB", "RGBA", "P", "1", "LA", "I;16"),
    "jpg": _pictures(".jpg", "L", "RGB", "CMYK"),
}
_REAL_SUFFIX = {"dm3": ".dm3", "dm4": ".dm4", "emd-velox": ".emd", "mrc": ".mrc"}


def seeds(kind: str, folder: Path, *, real: bool = True) -> list[Seed]:
    """The files of a format; `folder` is written to.

    Parameters
    ----------
    real
        Also those that lie beside the repository, where they do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = MAKERS[kind](folder)
    if real and kind in _REAL_SUFFIX and _REAL.is_dir():
        for path in sorted(_REAL.glob(f"*{_REAL_SUFFIX[kind]}")):
            # Those named ref_ have 6 px: whatever is done to them, they are refused.
            if path.stat().st_size <= _LARGEST_REAL and not path.name.startswith("ref_"):
                made.append(Seed(path.name, path.read_bytes()))
    return made


def mended(name: str, raw: bytes) -> bytes:
    """With the check sums of a PNG put right, or no lie of its header would ever be listened to."""
    if not name.endswith(".png") or not raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return raw
    mended, at = bytearray(raw), 8
    while at + 12 <= len(mended):
        (length,) = struct.unpack(">I", mended[at : at + 4])
        end = at + 8 + length
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[at + 4 : end]))
        at = end + 4
    return bytes(mended)
