"""The reference of likeness: the stated rate of false alarms, what is far away, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.quality.likeness import UNLIKE, Likeness, Reference, frame_statistics
from models.quality.spectrum import spectrum_of
from models.training.likeness import rank_correlation, reference

NAMES = ("a", "b", "c")


def drawn(number: int, seed: int) -> np.ndarray:
    """(number, 3) values, correlated, the last with a heavy tail."""
    rng = np.random.default_rng(seed)
    a = rng.normal(3, 2, number)
    return np.stack([a, 0.8 * a + rng.normal(0, 0.5, number), rng.standard_t(3, number)], axis=1)


def told(correlation: float = 0.3) -> dict[str, Any]:
    part = reference(NAMES, drawn(3000, 1), drawn(3000, 2))
    return {"frames": part, "particles": part, "correlation": correlation}


def likeness(correlation: float = 0.3) -> Likeness:
    found = Likeness.read(told(correlation))
    assert found is not None
    return found


def as_dicts(values: np.ndarray) -> list[dict[str, float]]:
    return [dict(zip(NAMES, row, strict=True)) for row in values.tolist()]


def test_of_values_like_the_training_a_hundredth_has_a_likeness_below_a_hundredth() -> None:
    found = Reference.read(told()["frames"]).likeness(drawn(20000, 3))
    for level in (0.01, 0.05, 0.5):
        assert (found < level).mean() == pytest.approx(level, abs=max(0.004, 0.1 * level))


def test_a_frame_like_the_training_is_called_unlike_at_most_at_the_stated_rate() -> None:
    """Particles of a frame agree as much as the reference says."""
    judge, rng = likeness(0.3), np.random.default_rng(4)
    pool = drawn(20000, 5)
    ranks = Reference.read(told()["particles"]).likeness(pool)
    ordered = pool[np.argsort(ranks)]
    called = 0
    for _ in range(3000):
        # Ranks of correlation 0.3: all agree in three of ten frames, none does in the others.
        together = rng.random() < 0.3
        places = np.full(5, rng.integers(len(pool))) if together else rng.integers(0, len(pool), 5)
        frame = as_dicts(pool[rng.integers(len(pool))][None])[0]
        called += bool(judge.judge(frame, as_dicts(ordered[places]))["unlike"])
    assert called / 3000 < UNLIKE + 0.005


def test_what_is_far_away_is_unlike_and_named() -> None:
    judge = likeness()
    near, far = {"a": 3.0, "b": 2.4, "c": 0.0}, {"a": 3.0, "b": 9.0, "c": 0.0}
    assert judge.judge(near, []) == {"likeness": pytest.approx(1.0, abs=0.2), "unlike": False}
    found = judge.judge(far, [near, near])
    assert found["unlike"] is True
    assert found["unlike_by"] == "b"
    by_particles = judge.judge(near, [far] * 6)
    assert by_particles["unlike"] is True
    assert by_particles["unlike_by"] == "the particles' features"


def test_where_there_is_nothing_to_compare_nothing_is_said() -> None:
    assert likeness().judge(None, []) == {}
    assert Likeness.read(None) is None


@pytest.mark.parametrize(
    "harm",
    [
        {"correlation": 2.0},
        {"frames": {**told()["frames"], "centre": [1.0]}},
        {"frames": {**told()["frames"], "spread": [1.0, 0.0, 1.0]}},
        {"particles": {**told()["particles"], "distances": [float("nan"), 1.0]}},
        {"particles": {"names": []}},
    ],
)
def test_a_damaged_reference_is_refused(harm: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Likeness.read({**told(), **harm})


def test_the_correlation_of_ranks_in_a_frame() -> None:
    rng = np.random.default_rng(6)
    apart = [rng.random(4) for _ in range(2000)]
    assert rank_correlation(apart) == pytest.approx(0, abs=0.03)
    assert rank_correlation([np.full(3, value) for value in rng.random(4000)]) == pytest.approx(1, abs=0.05)
    assert rank_correlation([np.array([0.5])]) == 1.0


def test_statistics_of_a_frame_do_not_change_with_its_size() -> None:
    rng = np.random.default_rng(7)
    found = []
    for side in (256, 1024):
        image = rng.normal(size=(side, side)).astype(np.float32)
        spectrum = spectrum_of(image, 0.05, image, 0.05)
        assert spectrum is not None
        found.append(frame_statistics(spectrum, image, np.zeros_like(image)))
    small, large = found
    assert small is not None
    assert large is not None
    for name, value in small.items():
        assert large[name] == pytest.approx(value, abs=0.35), name


def test_frames_of_coarse_pixels_are_not_compared() -> None:
    image = np.random.default_rng(8).normal(size=(256, 256)).astype(np.float32)
    spectrum = spectrum_of(image, 0.1, image, 0.05)
    assert spectrum is not None
    assert frame_statistics(spectrum, image, np.zeros_like(image)) is None
