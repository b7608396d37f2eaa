"""Two forests on the same regions: what is said of each, and of the specimens that leak."""

from __future__ import annotations

import numpy as np

from models.results import CLASSES
from models.studies.forests import Judged, compare, null_of_specimens, tables_of
from tests.models.studies.made import rows_of

NULL, NO, YES = (CLASSES.index(name) for name in ("null", "no", "yes"))


def test_specimens_that_leak_are_counted_where_they_have_enough_regions() -> None:
    specimen = np.repeat(["a", "b", "c"], [4, 4, 3])
    rows = rows_of(np.full(11, NULL), specimen)
    called = np.full(11, NULL)
    called[:2] = YES, NO  # half of a
    called[4] = NO  # a quarter of b
    called[8:] = YES  # all three of c: too few
    told = null_of_specimens(rows, np.eye(4)[called])
    assert told == {"specimens": 2, "over": 1, "most": 0.5}
    assert null_of_specimens(rows_of(np.full(5, NO), specimen[:5]), np.eye(4)[called[:5]])["specimens"] == 0


def test_both_are_judged_by_the_same_regions() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, 240)
    rows = rows_of(classes, np.repeat([f"s-{n}" for n in range(24)], 10))
    worse = np.where(rng.random(240) < 0.3, rng.integers(0, 4, 240), classes)
    judged = [Judged("right", np.eye(4)[classes]), Judged("worse", np.eye(4)[worse])]
    result = compare(rows, judged)
    assert result["right"]["figures"]["macro_f1"] == [1.0, 1.0, 1.0]
    value, low, high = result["worse"]["figures"]["macro_f1"]
    assert low < value < high < 1
    assert set(result["worse"]["strata"]) == {
        "dose, 60 to 100 e/Å²", "microscope, corrected", "diameter, 3 to 5 nm",
    }  # fmt: skip
    figures, null, strata = tables_of("data", result, ["right", "worse"])
    assert [row[0] for row in figures.rows] == [row[0] for row in null.rows] == ["right", "worse"]
    assert len(strata.headings) == 1 + 4 * 2
