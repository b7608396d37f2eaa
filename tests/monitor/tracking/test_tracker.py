"""Particles followed through frames whose truth is known: a specimen of discs on a film, seen through moving frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from monitor.tracking.signature import from_png, signature, to_png
from monitor.tracking.tracker import Look, Place, Tracker
from monitor.tracking.tracks import Probabilities, Sighting, Track

PIXEL_NM = 0.1
SIDE = 256
"""Of a frame [px]: 25.6 nm."""
OF_NO: Probabilities = (0.02, 0.03, 0.9, 0.05)


@dataclass(frozen=True)
class Specimen:
    """A film with particles, 150 nm a side."""

    film: np.ndarray
    centres: np.ndarray
    """(n, 2) [nm]."""
    diameters: np.ndarray

    @classmethod
    def drawn(cls, seed: int, density_per_nm2: float) -> Specimen:
        rng = np.random.default_rng(seed)
        film = cv2.GaussianBlur(rng.standard_normal((1500, 1500)).astype(np.float32), (0, 0), 2.0)
        centres: list[np.ndarray] = []
        diameters: list[float] = []
        for _ in range(round(density_per_nm2 * 150**2)):
            place, size = rng.uniform(0, 150, 2), float(rng.uniform(2.5, 5.5))
            if all(
                np.hypot(*(place - c)) > (size + d) / 2 + 0.3 for c, d in zip(centres, diameters, strict=True)
            ):
                centres.append(place)
                diameters.append(size)
        return cls(film / film.std(), np.array(centres), np.array(diameters))

    def look(
        self,
        frame: int,
        row: float,
        col: float,
        *,
        noise: float = 2.0,
        jitter: float = 0.05,
        found: float = 0.97,
    ) -> tuple[Look, dict[int, int]]:
        """A frame whose corner lies at a place [nm], and the true particle of each sighting."""
        rng = np.random.default_rng((frame, 77))
        r, c = round(row / PIXEL_NM), round(col / PIXEL_NM)
        picture = self.film[r : r + SIDE, c : c + SIDE] + noise * rng.standard_normal((SIDE, SIDE))
        extent = SIDE * PIXEL_NM
        sightings, truth = [], {}
        for i, (centre, diameter) in enumerate(zip(self.centres, self.diameters, strict=True)):
            half = diameter / 2
            box = np.array(
                [
                    centre[0] - half - row,
                    centre[1] - half - col,
                    centre[0] + half - row,
                    centre[1] + half - col,
                ]
            )
            box += rng.normal(0, jitter, 4)
            seen = np.clip(box, 0, extent)
            if min(seen[2] - seen[0], seen[3] - seen[1]) < 0.8 or rng.random() > found:
                continue
            number = frame * 1000 + i
            cut = bool((box < 0).any() or (box > extent).any())
            size = math.sqrt((seen[2] - seen[0]) * (seen[3] - seen[1]))
            sightings.append(Sighting(number, (seen[0], seen[1], seen[2], seen[3]), size, OF_NO, cut))
            truth[number] = i
        png = to_png(signature(picture.astype(np.float32), PIXEL_NM))
        return Look(frame, extent, extent, tuple(sightings), from_png(png, extent)), truth


def follow(tracker: Tracker, looks: Iterable[Look]) -> list[tuple[Place, list[Track]]]:
    return [tracker.place(look, tracker.find(look)) for look in looks]


def identity(seen: list[tuple[Place, dict[int, int]]]) -> tuple[float, int, int]:
    """Identity F1 (Ristani et al. 2016) of the sightings, the number of particles, and the number of tracks."""
    from scipy.optimize import linear_sum_assignment

    pairs = [(truth[p], place.tracks.get(p)) for place, truth in seen for p in truth]
    true = sorted({t for t, _ in pairs})
    tracks = sorted({k for _, k in pairs if k is not None})
    table = np.zeros((len(true), len(tracks)))
    for t, k in pairs:
        if k is not None:
            table[true.index(t), tracks.index(k)] += 1
    rows, cols = linear_sum_assignment(table, maximize=True)
    followed = sum(k is not None for _, k in pairs)
    return 2 * table[rows, cols].sum() / (len(pairs) + followed), len(true), len(tracks)


@pytest.mark.parametrize("drift", [0.0, 1.0, 4.0, 8.5])
@pytest.mark.parametrize("density", [0.004, 0.02])
def test_every_particle_is_one_track_through_drift_and_stage_moves(drift: float, density: float) -> None:
    specimen = Specimen.drawn(3, density)
    looks, truths = [], []
    for field, (row, col) in enumerate([(5.0, 5.0), (60.0, 80.0), (110.0, 20.0)]):
        for k in range(5):
            look, truth = specimen.look(5 * field + k + 1, row, col + k * drift)
            looks.append(look)
            truths.append(truth)
    placed = follow(Tracker(), looks)
    score, particles, tracks = identity(
        [(place, truth) for (place, _), truth in zip(placed, truths, strict=True)]
    )
    assert score >= 0.97
    assert abs(tracks - particles) <= max(1, 0.02 * particles)
    assert [place.how for place, _ in placed].count("first") == 3
    for k in (1, 2, 3, 4):
        assert placed[k][0].drift_nm == pytest.approx(drift, abs=0.15)


def test_a_lost_and_a_blurred_frame_are_bridged() -> None:
    specimen = Specimen.drawn(4, 0.01)
    looks = [specimen.look(k + 1, 30, 30 + 1.5 * k)[0] for k in range(6)]
    rng = np.random.default_rng(0)
    dark = from_png(
        to_png(signature(rng.standard_normal((SIDE, SIDE)).astype(np.float32), PIXEL_NM)), SIDE * PIXEL_NM
    )
    looks[2] = replace(looks[2], sightings=(), signature=dark)
    # Out of focus: nothing correlates, and what was segmented lies anywhere; the gate does not count it.
    anywhere = tuple(replace(s, box=(20.0, 1.0, 23.0, 4.0)) for s in looks[3].sightings[:1])
    looks[3] = replace(looks[3], sightings=anywhere, signature=dark, weight=0.0)
    placed = follow(Tracker(), looks)
    assert [place.how for place, _ in placed] == [
        "first", "correlation", "bridged", "bridged", "correlation", "correlation",
    ]  # fmt: skip
    assert len({place.map for place, _ in placed}) == 1
    assert placed[4][0].drift_nm == pytest.approx(4.5, abs=0.15)


def test_the_stage_comes_back() -> None:
    specimen = Specimen.drawn(5, 0.01)
    there, back = specimen.look(1, 10, 10), specimen.look(3, 10.5, 10.3)
    away = specimen.look(2, 90, 90)
    placed = follow(Tracker(), [there[0], away[0], back[0]])
    assert [place.how for place, _ in placed] == ["first", "first", "returned"]
    assert placed[2][0].map == placed[0][0].map
    assert placed[2][0].drift_nm is None
    score, particles, tracks = identity(
        [(placed[0][0], there[1]), (placed[1][0], away[1]), (placed[2][0], back[1])]
    )
    assert (score, tracks) == (1.0, particles)


def test_fields_that_overlap_a_little_share_their_particles() -> None:
    specimen = Specimen.drawn(6, 0.02)
    first, second = specimen.look(1, 20, 20, noise=0.5), specimen.look(2, 20, 38.5, noise=0.5)
    placed = follow(Tracker(), [first[0], second[0]])
    assert placed[1][0].map == placed[0][0].map
    assert placed[1][0].field == 2  # less than 30 % in common
    score, particles, tracks = identity([(placed[0][0], first[1]), (placed[1][0], second[1])])
    assert score >= 0.97
    assert tracks == particles


def test_frames_without_pictures_are_followed_by_their_particles() -> None:
    specimen = Specimen.drawn(7, 0.02)
    looks, truths = [], []
    for k in range(4):
        look, truth = specimen.look(k + 1, 40, 40 + 3 * k)
        looks.append(replace(look, signature=None))
        truths.append(truth)
    looks.append(replace(specimen.look(5, 100, 100)[0], signature=None))
    placed = follow(Tracker(), looks)
    assert [place.how for place, _ in placed] == ["first", "particles", "drift", "drift", "first"]
    score, particles, tracks = identity([(p, t) for (p, _), t in zip(placed, truths, strict=False)])
    assert score == 1.0
    assert tracks == particles


def test_two_that_touch_and_part_are_two() -> None:
    """Segmented as one region at first, as two for good from the third frame on."""
    base = Specimen.drawn(8, 0.0).look(1, 50, 50, noise=0.3)[0]
    one = (Sighting(1, (5.0, 5.0, 8.0, 11.0), 4.2, OF_NO, False),)

    def apart(n: int) -> tuple[Sighting, ...]:
        return (
            Sighting(n, (5.0, 5.0, 8.0, 8.0), 3.0, OF_NO, False),
            Sighting(n + 1, (5.0, 8.0, 8.0, 11.0), 3.0, OF_NO, False),
        )

    looks = [
        replace(base, frame=k + 1, sightings=s)
        for k, s in enumerate([one, one, apart(10), apart(20), apart(30)])
    ]
    looks = [replace(look, sightings=tuple(replace(s, particle=s.particle + 100 * k) for s in look.sightings))
             for k, look in enumerate(looks)]  # fmt: skip
    placed = follow(Tracker(), looks)
    assert [len(place.tracks) for place, _ in placed] == [1, 1, 1, 2, 2]
    assert len({t for place, _ in placed for t in place.tracks.values()}) == 2
    assert placed[4][0].tracks == {430: 1, 431: placed[3][0].tracks[321]}


def test_restored_it_goes_on_as_if_it_had_never_stopped() -> None:
    specimen = Specimen.drawn(9, 0.015)
    places = [(10, 10), (10, 12), (70, 70), (71, 72), (10, 13), (72, 74), (12, 15)]
    looks = [specimen.look(k + 1, *map(float, place))[0] for k, place in enumerate(places)]
    whole = Tracker()
    expected = [place for place, _ in follow(whole, looks)]
    for stop in range(1, len(looks)):
        tracker = Tracker()
        for look, place in zip(looks[:stop], expected[:stop], strict=True):
            tracker.restore(look, replace(place, tracks={}))
        assert [place for place, _ in follow(tracker, looks[stop:])] == expected[stop:]
        assert {t.id: t for _, t in tracker.tracks()} == {t.id: t for _, t in whole.tracks()}


def test_a_stage_that_stood_still_speaks_for_a_field_and_one_that_went_away_against_it() -> None:
    specimen = Specimen.drawn(10, 0.02)
    first = replace(specimen.look(1, 30, 30)[0], signature=None, stage_nm=(1000.0, 500.0))
    second = replace(specimen.look(2, 30, 34)[0], signature=None)
    tracker = Tracker()
    follow(tracker, [first])
    evidence = []
    for stage in (None, (1000.5, 500.0), (1000.0, 9000.0)):
        found = tracker.find(replace(second, stage_nm=stage)).candidate
        assert found is not None
        evidence.append(found.evidence)
    assert evidence[1] - evidence[0] == pytest.approx(3)
    assert evidence[2] - evidence[0] == pytest.approx(-9)


def test_evidence_is_weighed_and_repeats_count_little() -> None:
    track = Track(1, 1, 1, 1, (0, 0, 3, 3), (0, 0, 25, 25), 3.0, True)
    assert track.probabilities == (0.25, 0.25, 0.25, 0.25)
    track.add((0.05, 0.05, 0.6, 0.3), 1.0)
    assert track.probabilities == pytest.approx((0.05, 0.05, 0.6, 0.3))
    for _ in range(50):
        track.add((0.05, 0.05, 0.6, 0.3), 1.0)
    # Fifty more of the same are worth a quarter of a sighting, n / (1 + (n − 1) 0.8) → 1.25.
    expected = np.array([0.05, 0.05, 0.6, 0.3]) ** (51 / (1 + 50 * 0.8))
    assert track.probabilities == pytest.approx(tuple(expected / expected.sum()))
    # A sharp frame of weight 3 outvotes a poor one.
    torn = Track(2, 1, 1, 1, (0, 0, 3, 3), (0, 0, 25, 25), 3.0, True)
    torn.add((0.02, 0.08, 0.1, 0.8), 3.0)
    torn.add((0.02, 0.08, 0.8, 0.1), 1.0)
    assert torn.particle_class == "yes"
