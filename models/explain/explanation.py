"""Why a particle was given its class: the spots, the stack along its direction and the features that counted most.

Spectrum, spots and the reading of the stack are those from which the particle's features were computed
(`models.analysis.analyse` with `keep`); nothing is computed again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models import boosting
from models.bundle import Bundle
from models.errors import ModelError
from models.features.axes import WINDOW, refine
from models.features.crystals import Line, candidates, of_material
from models.features.measure import Seen
from models.features.readings import PLAIN, most_faulted, most_trusted
from models.features.spectrum import BLUR_BINS, STRONG, TRANSFORM, Spectrum
from models.features.stack import Reading, layers_seen
from models.forest import as_rows, importances, load_forest
from models.results import CLASSES, Particle

TOLERANCE = 0.03
"""A spot is given an index whose spacing it meets within this: half of what parts 10-10 from 0002, relative."""
ASKEW = 6.0
"""And whose angle to the stacking direction, where that is known, it meets within this [degrees]."""
MOST = 8
"""So many features are told."""
EXPLAINED = 0.4
"""A word that explains less of the row is not shown as what the stack is."""
KINDS = {
    "I1": "an intrinsic fault I1",
    "I2": "an intrinsic fault I2",
    "E": "an extrinsic fault",
    "twin": "a twin",
    "intrinsic": "an intrinsic fault",
    "extrinsic": "an extrinsic fault",
}


@dataclass(frozen=True)
class Spot:
    """A Bragg spot, and with it its Friedel pair."""

    frequency_per_nm: float
    """[nm⁻¹]"""
    d_nm: float
    direction_deg: float
    """Counterclockwise from the frame's right, 0 to 180."""
    from_stacking_deg: float | None
    """Angle to the stacking direction, 0 to 90."""
    strength: float
    """Power over the frame's ground at this frequency."""
    index: str | None
    """Miller indices, where the material is given: of its spacings within `TOLERANCE` the nearest that fits the angle
    to the stacking direction within `ASKEW`; without a stack, the nearest."""
    may_be: tuple[str, ...]
    """Every structure and index within `TOLERANCE` by the spacing alone, the nearest first: `CdSe wurtzite 0002`."""
    at_per_nm: tuple[float, float]
    """Where it lies in the spectrum (row, column) [nm⁻¹]."""


@dataclass(frozen=True)
class Layer:
    """One layer of the stack."""

    at_nm: float
    """Along the stacking direction, from the first layer [nm]."""
    place: float
    """Lateral, in rows, 0 to 1: 0 is A, 1/3 B, 2/3 C."""
    size: float
    """Its contrast, 1 for what the fit expects; a small one has an uncertain place."""
    letter: str
    """Of the word that is shown."""


@dataclass(frozen=True)
class Stack:
    """What was read along the stacking direction."""

    direction_deg: float
    """Counterclockwise from the frame's right, 0 to 180."""
    frequency_per_nm: float
    """Of the layers [nm⁻¹]."""
    d_nm: float
    strength: float
    """Power of the layers' own reflection over the frame's ground; below `models.features.spectrum.STRONG` it
    is no spot."""
    sequence: str
    """`hexagonal` (ABAB) or `cubic` (ABCABC), as the best word has it."""
    faulted: bool
    """Whether the fault is plain: then `word` has it, else `word` is the best without."""
    word: str
    fault: str | None
    """The kind of the best word with a fault; `None` where it is not plain."""
    fault_layer: float | None
    """Its place [layers from the first, which is 0]."""
    fault_nm: float | None
    """The same [nm from the first layer]."""
    first_nm: float
    """The first layer's middle along the direction, from the crop's first pixel [nm]."""
    along: tuple[float, float]
    """The direction as a unit vector (row, column)."""
    explained: dict[str, float]
    """Shares of the row's variance: by the best `hexagonal`, `cubic` and `faulted` word."""
    significance: float
    """Evidence for the fault; above `models.features.readings.PLAIN` it is plain."""
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Counted:
    """A feature, and its contribution to the probability of the particle's class."""

    feature: str
    value: float
    weight: float
    """The feature's importance in the forest as a whole, all features together 1."""
    contribution: float
    """What the forest's splits on it added to the share of its votes (Saabas 2014; Palczewska et al. 2014)."""


@dataclass(frozen=True)
class Explanation:
    """What was found of one particle; plain data."""

    label: int
    """The particle's number in the frame, from 1."""
    particle_class: str
    probabilities: dict[str, float]
    abstained: bool
    diameter_nm: float
    material: str | None
    """As the operator gave it; `None`: any that is known."""
    pixel_size_nm: float
    """Of the crop and of everything read from it: canonical sampling."""
    spots: tuple[Spot, ...]
    stack: Stack | None
    """Along the axis where a fault is best attested if one is seen, else along the one that is explained best."""
    stack_axis_deg: float | None
    """The direction that the features `stack_…` are of."""
    fault_axis_deg: float | None
    """The direction that the features `fault_…` are of: where, of all that were tried, a fault is best attested."""
    counted: tuple[Counted, ...]
    """The features that moved the class's share of votes most, either way."""
    expected: float
    """That share before any feature is looked at; with all contributions it is the forest's."""
    votes: float
    """The forest's share of votes for the class, before it is sharpened into the probability."""
    why: str
    """The whole in a sentence or two."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `particle_class` is `class` there, as in what `analyse --json` says."""
        told = asdict(self)
        return {"label": told.pop("label"), "class": told.pop("particle_class"), **told}


class Explainer:
    """Explains the particles that one bundle judged."""

    def __init__(self, bundle: Bundle, material: str | None = None) -> None:
        self._bundle = bundle
        known = of_material(material) if material is not None else []
        self._material = known[0].material if known else material

    @cached_property
    def _forest(self) -> Any:
        return load_forest(self._bundle.path / "forest.skops")

    def explain(self, particle: Particle, number: int) -> Explanation:
        """What was found of a particle, the `number`-th of its frame.

        Raises
        ------
        ModelError
            The analysis was made without `keep`.
        """
        measured = particle.measured
        if measured is None or measured.seen is None:
            raise ModelError("the particle can't be explained: it was analysed without keeping what was seen")
        trusted, faulted = most_trusted(measured.seen.readings), most_faulted(measured.seen.readings)
        reading = measured.reading if particle.particle_class == "yes" else trusted
        spectrum = measured.seen.spectrum()
        stack = None if reading is None else stack_of(reading, spectrum, measured.seen.pixel_size_nm)
        spots = spots_of(measured.seen, spectrum, stack, self._material)
        best = CLASSES.index(particle.particle_class)
        row = as_rows([particle.features], self._bundle.feature_names)[0]
        expected, parts = contributions(self._forest, row)
        weights = importances(self._forest)
        order = np.argsort(-np.abs(parts[:, best]), kind="stable")[:MOST]
        counted = tuple(
            Counted(
                self._bundle.feature_names[i],
                float(row[i]),
                float(weights[i]),
                float(parts[i, best]),
            )
            for i in order
        )
        return Explanation(
            label=number,
            particle_class=particle.particle_class,
            probabilities=dict(zip(CLASSES, map(float, particle.probabilities), strict=True)),
            abstained=particle.abstained,
            diameter_nm=particle.diameter_nm,
            material=self._material,
            pixel_size_nm=measured.seen.pixel_size_nm,
            spots=spots,
            stack=stack,
            stack_axis_deg=None if trusted is None else _direction(trusted.axis_rc),
            fault_axis_deg=None if faulted is None else _direction(faulted.axis_rc),
            counted=counted,
            expected=float(expected[best]),
            votes=float(expected[best] + parts[:, best].sum()),
            why=_why(particle, stack, spots),
        )


def _direction(axis: tuple[float, float]) -> float:
    """Counterclockwise from the right as the frame is looked at, its rows going down [degrees], 0 to 180."""
    return float(np.degrees(np.arctan2(-axis[0], axis[1])) % 180.0)


def spots_of(seen: Seen, spectrum: Spectrum, stack: Stack | None, material: str | None) -> tuple[Spot, ...]:
    """The Bragg spots that the features know of, placed between the bins, the strongest first."""
    step = 1 / (TRANSFORM * seen.pixel_size_nm)
    strong = [peak for peak in spectrum.peaks if peak[3] > STRONG]
    bins = np.array([peak[:2] for peak in strong]).reshape(-1, 2)
    places = refine(seen.detail * seen.mask, seen.pixel_size_nm, bins * step)
    found = []
    for (row, col), (_, _, _, strength) in zip(places.tolist(), strong, strict=True):
        at = row, col
        frequency = float(np.hypot(row, col))
        direction = _direction(at)
        apart = None
        if stack is not None:
            apart = abs(direction - stack.direction_deg)
            apart = min(apart, 180.0 - apart)
        lines = candidates(frequency, TOLERANCE, material)
        index = None if material is None else _index(lines, apart, stack, material)
        names = tuple(f"{x.crystal.material} {x.crystal.structure} {x.index}" for x in lines)
        found.append(
            Spot(frequency, 1 / frequency, direction, apart, float(strength), index, names, at),
        )
    return tuple(found)


def _index(lines: list[Line], from_stacking: float | None, stack: Stack | None, material: str) -> str | None:
    """The nearest of a material's lines that agrees with the stack, its angles and its sequence; `None` without one."""
    if stack is not None and from_stacking is not None:
        hexagonal = stack.sequence == "hexagonal"
        if any(crystal.hexagonal == hexagonal for crystal in of_material(material)):
            lines = [line for line in lines if line.crystal.hexagonal == hexagonal]
        lines = [line for line in lines if min(abs(from_stacking - a) for a in line.from_stacking) <= ASKEW]
    return lines[0].index if lines else None


def stack_of(reading: Reading, spectrum: Spectrum, pixel_size_nm: float) -> Stack:
    """The reading of the stack as plain data, every layer with the lateral place that was seen."""
    faulted = reading.significance > PLAIN and reading.faulted > EXPLAINED
    word, ramp = (reading.word, reading.ramps[0]) if faulted else (reading.perfect_word, reading.ramps[1])
    length = float(np.hypot(*reading.axis_rc))
    seen = layers_seen(reading, word, ramp)
    turns = np.angle(seen) / (2 * np.pi) % 1.0
    hexagonal = reading.base == "h" if faulted else reading.perfect_h >= reading.perfect_c
    row, col = (round(k * TRANSFORM * pixel_size_nm) + TRANSFORM // 2 for k in reading.axis_rc)
    near = cv2.GaussianBlur(spectrum.plane(), (0, 0), BLUR_BINS)[row - 1 : row + 2, col - 1 : col + 2]
    layers = tuple(
        Layer(n / length, float(turn), float(abs(z)), letter)
        for n, (turn, z, letter) in enumerate(zip(turns, seen, word, strict=True))
    )
    return Stack(
        direction_deg=_direction(reading.axis_rc),
        frequency_per_nm=length,
        d_nm=1 / length,
        strength=float(near.max()),
        sequence="hexagonal" if hexagonal else "cubic",
        faulted=faulted,
        word=word,
        fault=reading.kind if faulted else None,
        fault_layer=reading.place if faulted else None,
        fault_nm=reading.place / length if faulted else None,
        first_nm=reading.first_nm,
        along=(reading.axis_rc[0] / length, reading.axis_rc[1] / length),
        explained={
            "hexagonal": reading.perfect_h,
            "cubic": reading.perfect_c,
            "faulted": reading.faulted,
        },
        significance=reading.significance,
        layers=layers,
    )


def contributions(
    forest: Any, row: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Contribution of every feature to the votes: (4,) the forest's bias and (F, 4) the features'; they sum to the
    votes.

    At each split on the row's way through a tree the share of votes changes from the node's to the child's; the
    change is the split feature's, and the trees are averaged (Saabas 2014). Of boosting the votes are its probabilities
    (`models.boosting.contributions`).
    """
    if not hasattr(forest, "estimators_"):
        return boosting.contributions(forest, row)
    parts = np.zeros((len(row), len(CLASSES)))
    expected = np.zeros(len(CLASSES))
    own = np.asarray(forest.classes_, dtype=int)
    for tree in forest.estimators_:
        votes = tree.tree_.value[:, 0, :]
        votes = votes / votes.sum(axis=1, keepdims=True)
        way = tree.decision_path(row[None]).indices
        expected[own] += votes[way[0]]
        changes = np.zeros((len(row), len(own)))
        np.add.at(changes, tree.tree_.feature[way[:-1]], np.diff(votes[way], axis=0))
        parts[:, own] += changes
    count = len(forest.estimators_)
    return expected / count, parts / count


def layer_told(place: float) -> str:
    """A place among the layers, the first being 0, as people count: `at layer 3`, `between layers 3 and 4`."""
    if place == int(place):
        return f"at layer {int(place) + 1}"
    return f"between layers {int(place) + 1} and {int(place) + 2}"


def _why(particle: Particle, stack: Stack | None, spots: tuple[Spot, ...]) -> str:
    p = particle.probabilities[CLASSES.index(particle.particle_class)]
    said = f"Called {particle.particle_class} with {p:.0%}"
    said += ", too close to call. " if particle.abstained else ". "
    if stack is None:
        count = f"{len(spots)} Bragg spots, but none" if spots else "No Bragg spot, and none"
        return said + (
            f"{count} that is within {WINDOW:.0%} of a known layer spacing and has five layers or more: "
            "there is no stack to read."
        )
    perfect = max(stack.explained["hexagonal"], stack.explained["cubic"])
    with_fault = stack.explained["faulted"]
    where = f"Along {stack.direction_deg:.0f}° {len(stack.layers)} layers of {stack.d_nm:.4f} nm"
    if stack.strength <= STRONG:
        where += f" (their own reflection hardly stands out, {stack.strength:.1f} times the ground)"
    if stack.faulted and stack.fault is not None and stack.fault_layer is not None:
        return said + (
            f"{where} read {stack.word}: {KINDS[stack.fault]} {layer_told(stack.fault_layer)}. "
            f"With it {with_fault:.0%} of the row is explained, without any fault {max(0.0, perfect):.0%}."
        )
    if perfect > EXPLAINED:
        more = "too little more to tell a fault" if with_fault > perfect else "no more than that"
        return said + (
            f"{where} read {stack.word}, which explains {perfect:.0%} of the row; "
            f"the best sequence with a fault explains {max(0.0, with_fault):.0%}, {more}."
        )
    return said + (
        f"{where} are seen, but no sequence of A, B and C: the best explains {max(0.0, perfect, with_fault):.0%} "
        "of the row."
    )
