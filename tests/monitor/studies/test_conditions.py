"""The concentration is found where it is known, and the command reads the shipped bundle."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.statistics.confusion import Confusion
from monitor.studies import conditions


@pytest.mark.parametrize("true", [15.0, 100.0])
def test_a_known_concentration_is_found(true: float) -> None:
    rng = np.random.default_rng(1)
    rows = np.array(
        [[0.9, 0.025, 0.025, 0.025, 0.025], [0.2, 0.5, 0.15, 0.05, 0.1], [0.15, 0.1, 0.1, 0.5, 0.15]]
    )
    strata = [
        Confusion(np.array([rng.multinomial(300, rng.dirichlet(true * row)) for row in rows]).astype(float))
        for _ in range(60)
    ]
    likeliest, low, high = conditions.concentration(strata)
    assert low < true < high
    assert likeliest == pytest.approx(true, rel=0.3)


def test_the_command_reads_the_shipped_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert conditions.main([]) == 0
    assert "microscope" in capsys.readouterr().out
