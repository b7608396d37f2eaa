"""The difference of two fractions has the published interval."""

from __future__ import annotations

import pytest

from monitor.statistics.compare import difference
from monitor.statistics.fraction import wilson


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "expected"),
    [
        (56, 70, 48, 80, (0.0524, 0.3339)),
        (9, 10, 3, 10, (0.1705, 0.8090)),
        (5, 56, 0, 29, (-0.0381, 0.1926)),
        (10, 10, 0, 20, (0.6791, 1.0000)),
    ],
)
def test_method_10_of_newcombe(a: int, m: int, b: int, n: int, expected: tuple[float, float]) -> None:
    """Newcombe, Stat. Med. 17 (1998) 873, table II."""
    first, second = wilson(a, m), wilson(b, n)
    assert first is not None
    assert second is not None
    assert difference(a / m, first, b / n, second).interval == pytest.approx(expected, abs=1e-4)


def test_apart_or_not() -> None:
    assert difference(0.5, (0.4, 0.6), 0.2, (0.1, 0.3)).apart
    assert not difference(0.5, (0.3, 0.7), 0.4, (0.2, 0.6)).apart
    with pytest.raises(ValueError, match="lies in its interval"):
        difference(0.5, (0.6, 0.7), 0.4, (0.2, 0.6))
