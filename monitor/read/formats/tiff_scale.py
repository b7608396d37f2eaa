"""The pixel size of a TIFF page, as half a dozen programs write it.

Almost every program means dots per inch of a print by the resolution tags. So they are believed only where the
pixel they tell is too small for a print.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from monitor.read.formats import mdoc
from monitor.read.scale import doubt, parse_unit, plausible, print_doubt
from monitor.read.signals import Axis
from monitor.read.values import finite

#: Resolution tags that make a pixel larger than this [nm] are meant for paper (100 nm are 254,000 dpi).
_LARGEST_BY_TAGS_NM = 100.0
_UNIT_NM = {2: 25.4e6, 3: 10e6}  # ResolutionUnit: inch, centimetre


@dataclass(frozen=True)
class Scale:
    """The scale of a page along its rows and along its columns."""

    rows: Axis
    columns: Axis
    doubt: str | None = None
    """Why it is not believed, where the format itself tells."""


def scale_of(tif: Any, page: Any, notes: mdoc.Notes | None) -> Scale:
    """The scale of a page: the first that is a calibration, of the programs below and of the notes beside the file.

    Where there is none, it is the first that is not believed, with the reason.
    """
    doubted: Scale | None = None
    for told, origin in _TELLERS.items():
        scale = told(tif, page)
        if scale is None:
            continue
        scale = replace(
            scale, rows=replace(scale.rows, origin=origin), columns=replace(scale.columns, origin=origin)
        )
        rows, columns = scale.rows, scale.columns
        why = scale.doubt or doubt(rows.scale, columns.scale, columns.unit or rows.unit)
        if why is None and (plausible(rows.scale) or plausible(columns.scale)):
            return scale
        doubted = doubted or (replace(scale, doubt=why) if why else None)
    size = notes.pixel_size_nm() if notes else None
    return _both(size, "nm", "PixelSpacing in the .mdoc beside it") if size or doubted is None else doubted


def _both(size: float | None, unit: str | None, origin: str | None = None) -> Scale:
    return Scale(Axis(size, unit, origin), Axis(size, unit, origin))


def _gatan(tif: Any, page: Any) -> Scale | None:
    """DigitalMicrograph's private tags: 65003 and 65004 hold the units, 65009 and 65010 the scales of x and y."""
    values = [tag(page, code) for code in (65003, 65004, 65009, 65010)]
    units = [value if isinstance(value, str) else None for value in values[:2]]
    scales = [number(value) for value in values[2:]]
    if scales[0] is None and scales[1] is None:
        return None
    column, row = scales[0] or scales[1], scales[1] or scales[0]
    return Scale(Axis(row, units[1] or units[0]), Axis(column, units[0] or units[1]))


def _fei(tif: Any, page: Any) -> Scale | None:
    """FEI's metadata, as text (`Scan`, in metres) or as XML (`pixelWidth`)."""
    tree = tif.fei_metadata if tif.is_fei else None
    if not isinstance(tree, Mapping):
        text = tag(page, 34682) or tag(page, 34680)
        found = (
            re.findall(r"<[pP]ixel(?:Size)?(Width|Height)[^>]*?>([-+.\deE]+)<", text)
            if isinstance(text, str)
            else []
        )
        sizes = {side: number(value) for side, value in found}
        return Scale(Axis(sizes.get("Height"), "m"), Axis(sizes.get("Width"), "m")) if sizes else None
    for group in tree.values():
        if isinstance(group, Mapping) and plausible(number(group.get("PixelWidth"))):
            return Scale(
                Axis(number(group.get("PixelHeight")), "m"), Axis(number(group.get("PixelWidth")), "m")
            )
    return None


def _tvips(tif: Any, page: Any) -> Scale | None:
    """The private tag of TVIPS cameras, in nm."""
    tree = tif.tvips_metadata if tif.is_tvips else None
    if not isinstance(tree, Mapping) or not plausible(number(tree.get("PixelSizeX"))):
        return None
    return Scale(Axis(number(tree.get("PixelSizeY")), "nm"), Axis(number(tree.get("PixelSizeX")), "nm"))


def _olympus(tif: Any, page: Any) -> Scale | None:
    """The private tag of Olympus SIS, in metres."""
    tree = tif.sis_metadata if tif.is_sis else None
    if not isinstance(tree, Mapping) or not plausible(number(tree.get("pixelsizex"))):
        return None
    return Scale(Axis(number(tree.get("pixelsizey")), "m"), Axis(number(tree.get("pixelsizex")), "m"))


def _ome(tif: Any, page: Any) -> Scale | None:
    """OME-XML: `PhysicalSizeX`, in µm where no unit is given."""
    text = html.unescape(tif.ome_metadata or "") if tif.is_ome else None
    if not text:
        return None
    axes = {}
    for axis in "XY":
        size = re.search(rf'PhysicalSize{axis}="([^"]+)"', text)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
        axes[axis] = Axis(number(size.group(1)) if size else None, unit.group(1) if unit else "µm")
    return Scale(axes["Y"], axes["X"]) if axes["X"].scale or axes["Y"].scale else None


def _described(tif: Any, page: Any) -> Scale | None:
    """A pixel size with its unit in its name, in a description that is JSON or lines of `name=value`."""
    found = re.search(
        r"[\"']?pixel[_ ]?size[_ ]?\(?(nm|um|µm|pm|angstrom|A|Å)\)?[\"']?\s*[:=]\s*([-+.\deE]+)",
        str(page.description or ""),
        re.IGNORECASE,
    )
    return _both(float(found.group(2)), found.group(1)) if found and number(found.group(2)) else None


def _imagej(tif: Any, page: Any) -> Scale | None:
    """ImageJ's: the unit is in the description, the pixels per unit are in the resolution tags."""
    entries = tif.imagej_metadata if tif.is_imagej else None
    unit = str((entries or {}).get("unit", ""))
    if entries is None or (parse_unit(unit)[0] == "none" and tag(page, 282) in (None, (1, 1))):
        return None
    per_unit = [_ratio(tag(page, code)) for code in (283, 282)]
    if None in per_unit:
        return None
    row, column = (1 / value if value else None for value in per_unit)
    return Scale(Axis(row, unit), Axis(column, unit))


def _resolution(tif: Any, page: Any) -> Scale | None:
    """The resolution tags, where they cannot mean dots per inch of a print."""
    unit_nm = _UNIT_NM.get(int(number(tag(page, 296)) or 0))
    per_unit = [_ratio(tag(page, code)) for code in (283, 282)]
    if unit_nm is None or not all(per_unit):
        return None
    sizes = [unit_nm / value for value in per_unit if value]
    if max(sizes) > _LARGEST_BY_TAGS_NM:
        return Scale(Axis(), Axis(), print_doubt(max(sizes)))
    return Scale(Axis(sizes[0], "nm"), Axis(sizes[1], "nm"))


#: In the order in which they are asked, and what each of them reads.
_TELLERS = {
    _gatan: "DigitalMicrograph's tags 65003 to 65010",
    _fei: "FEI's tag 34680 or 34682",
    _tvips: "TVIPS's tag",
    _olympus: "Olympus SIS's tag",
    _ome: "PhysicalSizeX in the OME-XML",
    _described: "pixel_size in the description",
    _imagej: "ImageJ's unit and the resolution tags",
    _resolution: "the resolution tags",
}


#: In words, for those who ask from where a pixel size may be.
ORIGINS = tuple(_TELLERS.values())


def tag(page: Any, code: int) -> Any:
    """The value of a page's tag with this code, None where it has none."""
    found = page.tags.get(code)
    return None if found is None else found.value


def _ratio(value: Any) -> float | None:
    """A tag's fraction (numerator, denominator) as a float above 0."""
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return plausible(float(value[0]) / float(value[1]))
    return plausible(number(value))


def number(value: Any) -> float | None:
    """A tag's value, or the first of several, as a finite float; None where it is no number."""
    return finite(value[0] if isinstance(value, tuple) and value else value)
