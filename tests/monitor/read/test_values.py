"""Single values of metadata trees: the type that was asked for, or None."""

from __future__ import annotations

import pytest

from monitor.read.values import branch, finite, positive


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), ("0.5", 0.5), ("-1e3", -1000.0), ("", None), ("nan", None), ("inf", None), (None, None), ([], None),
     (10**400, None), ("9" * 400, None)],
)  # fmt: skip
def test_finite_is_a_number_or_nothing(value, expected):
    assert finite(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(2, 2.0), ("1e-9", 1e-9), (0, None), (-1, None), ("x", None)]
)
def test_positive_is_above_0_or_nothing(value, expected):
    assert positive(value) == expected


@pytest.mark.parametrize("tree", [{}, {"a": 1}, {"a": None}, {"a": [1]}, None, "a", 7])
def test_what_is_no_branch_is_an_empty_one(tree):
    assert branch(tree, "a") == {}


def test_branch_is_the_group_of_that_name():
    assert branch({"a": {"b": 1}}, "a") == {"b": 1}
