"""The sessions of the study are drawn as it says, and its command prints its tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monitor.studies import coverage
from monitor.studies.coverage import FIELDS, SCORED_A_FIELD, TRAINING, Scenario, simulate


def test_sessions_follow_their_rates() -> None:
    drawn = simulate(Scenario(others=2), 0.3, 200, np.random.default_rng(1))
    assert drawn.truth.shape == drawn.called.shape == (200, FIELDS, 3 * SCORED_A_FIELD)
    assert (drawn.truth == 2).sum() / (drawn.truth > 0).sum() == pytest.approx(0.3, abs=0.01)
    for t in range(3):
        called = np.bincount(drawn.called[drawn.truth == t], minlength=5)
        assert called / called.sum() == pytest.approx(TRAINING[t] / TRAINING[t].sum(), abs=0.01)
    assert drawn.bundle.sum(axis=2) == pytest.approx(np.tile(TRAINING.sum(axis=1), (200, 1)))


def test_sightings_agree_and_fields_are_alike_where_they_should() -> None:
    rng = np.random.default_rng(2)
    single, five = (simulate(Scenario(sightings=n), 0.5, 100, rng) for n in (1, 5))
    right = [((s.called + 1) // 2 == s.truth)[s.truth > 0].mean() for s in (single, five)]
    assert right[1] == pytest.approx(right[0], abs=0.1)
    alike = simulate(Scenario(correlation=0.5), 0.5, 200, rng).truth
    yes = (alike == 2).sum(axis=2)
    assert yes.var() > 2 * SCORED_A_FIELD / 4


def test_rates_of_another_microscope_are_other_rates() -> None:
    drawn = simulate(Scenario(rates="overview"), 0.5, 200, np.random.default_rng(3))
    lost = (drawn.called[drawn.truth == 1] == 0).mean()
    assert lost > 0.4 > TRAINING[1, 0] / TRAINING[1].sum()


def test_the_command_prints_its_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [Scenario(), replace(Scenario(), rates="another", sightings=5, correlation=0.1, labels=20)]
    monkeypatch.setattr(coverage, "scenarios", lambda: few)
    monkeypatch.setattr(coverage, "watched", lambda: few[:1])
    monkeypatch.setattr(coverage, "TRUTHS", (0.2,))
    assert coverage.main(["--sessions", "6", "--looked-at", "2", "--by-size", "2"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| training")]
    assert len(rows) == 4
