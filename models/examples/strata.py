"""The conditions by which scores are told apart, and the range in which they have to hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

DOSES = ((20, 60), (60, 100), (100, 200), (200, 400), (400, 1000), (1000, 10000))
"""Bands of dose [e⁻/Å²], half-open."""
CARBONS = ((0, 2), (2, 3.5), (3.5, 5), (5, 7.5), (7.5, 100))
"""Bands of the carbon's thickness [nm], half-open."""
SIZES = ((0, 2), (2, 3), (3, 5), (5, 8), (8, 100))
"""Bands of a particle's diameter [nm], half-open."""
NEAR_80 = (64.0, 100.0)
"""Doses that stand for 80 e⁻/Å²: a quarter less to a quarter more."""
DOSE_RANGE = (60.0, 1000.0)
"""Doses over which the bars hold [e⁻/Å²]."""
MICROSCOPES = ("corrected", "uncorrected")
"""Microscopes for which the bars hold."""
EMPTY_PRESETS = ("bare", "soot")
"""Presets of data sets whose images hold no particle: they are judged by the area marked on them."""


def preset_of(about: dict[str, Any]) -> str:
    """The preset by which an image's specimen was drawn."""
    return str(about["specimen"]).rsplit("-", 2)[0]


def band(value: float, bands: tuple[tuple[float, float], ...], unit: str) -> str | None:
    """Name of the band that holds a value; `None` where none does."""
    for low, high in bands:
        if low <= value < high:
            return f"from {low:g} {unit}" if (low, high) == bands[-1] else f"{low:g} to {high:g} {unit}"
    return None


def in_conditions(about: dict[str, Any]) -> bool:
    """Whether an image was taken as the bars suppose: its dose in `DOSE_RANGE`, its microscope of `MICROSCOPES`."""
    conditions = about["conditions"]
    dose = float(conditions["dose_e_per_A2"])
    return DOSE_RANGE[0] <= dose <= DOSE_RANGE[1] and conditions["microscope"] in MICROSCOPES


def in_range(about: dict[str, Any]) -> bool:
    """Whether an image belongs to the range over which the bars for outlines hold.

    A particle preset, `in_conditions`, carbon of 2 to 10 nm.
    """
    return preset_of(about) not in EMPTY_PRESETS and in_conditions(about) and 2 <= about["carbon_nm"] <= 10


def strata(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(table, row) of every row that an image counts in."""
    conditions = about["conditions"]
    dose, carbon = float(conditions["dose_e_per_A2"]), float(about["carbon_nm"])
    empty = preset_of(about) in EMPTY_PRESETS
    yield "range", "every image of the data set"
    yield "preset", preset_of(about)
    if empty:
        return
    yield "range", "every image that may hold particles"
    if in_range(about):
        yield "range", "range of the bars"
        if dose >= 400 and carbon <= 5:
            yield "range", "range of the bars, from 400 e/Å², carbon up to 5 nm"
        if NEAR_80[0] <= dose < NEAR_80[1]:
            yield "range", "range of the bars, 64 to 100 e/Å²"
    microscope = str(conditions["microscope"])
    yield "microscope", microscope
    yield "energy", f"{conditions['energy_kev']:g} keV"
    if (name := band(dose, DOSES, "e/Å²")) is not None:
        yield "dose", name
        yield "dose and microscope", f"{name}, {microscope}"
    if NEAR_80[0] <= dose < NEAR_80[1]:
        yield "dose", "64 to 100 e/Å² (around 80)"
    if about.get("support") == "real frame":
        yield "carbon", "real frame"
    elif (name := band(carbon, CARBONS, "nm")) is not None:
        yield "carbon", name
    if "camera" in conditions:
        yield "camera", str(conditions["camera"]["name"])
    materials = {str(p["material"]) for p in about["particles"]}
    if len(materials) == 1:
        yield "material", materials.pop()
    elif materials:
        yield "material", "several"


def row_order(row: str) -> tuple[int, float, str]:
    """Sorting key that puts bands in the order of their numbers, and names in the alphabet's after them."""
    words = row.removeprefix("from ").split()
    try:
        return (0, float(words[0]), row)
    except (ValueError, IndexError):
        return (1, 0.0, row)
