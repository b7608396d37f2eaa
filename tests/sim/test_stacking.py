"""Stacking words: each fault obeys its rule, and is found again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.stacking import RUNS, find_faults, surroundings, word


@pytest.mark.parametrize(
    ("base", "kind", "expected"),
    [
        ("h", "I1", "ABABCBCB"),
        ("h", "I2", "ABABCACA"),
        ("h", "E", "ABABCABAB"),
        ("c", "twin", "ABCACBACB"),
        ("c", "intrinsic", "ABCABABCABC"),
        ("c", "extrinsic", "ABCABACABC"),
    ],
)
def test_published_words(base: str, kind: str, expected: str) -> None:
    """The words of Hirth and Lothe, from the layer where they leave the perfect sequence."""
    found = {
        word(base, len(expected), [(kind, first)])
        for first in range(1, len(expected) - len(RUNS[base][kind]))
    }
    assert expected in found


def test_perfect_words() -> None:
    assert word("h", 6) == "ABABAB"
    assert word("c", 7) == "ABCABCA"
    assert surroundings("ABABAB") == "hhhh"
    assert surroundings("ABCABC") == "cccc"


@given(st.sampled_from([(b, k) for b in RUNS for k in RUNS[b]]), st.integers(8, 40), st.data())
def test_a_fault_is_found_where_it_was_put(
    base_and_kind: tuple[str, str], layers: int, data: st.DataObject
) -> None:
    base, kind = base_and_kind
    first = data.draw(st.integers(1, layers - 1 - len(RUNS[base][kind])))
    (fault,) = find_faults(word(base, layers, [(kind, first)]), base)
    assert (fault.kind, fault.layer, fault.layers) == (kind, first, len(RUNS[base][kind]))


@given(st.sampled_from("hc"), st.integers(3, 60))
def test_close_packing_never_repeats_a_letter(base: str, layers: int) -> None:
    stack = word(base, layers)
    assert all(a != b for a, b in pairwise(stack))
    assert find_faults(stack, base) == ()


def test_bad_words_are_refused() -> None:
    with pytest.raises(ValueError, match="no close packing"):
        surroundings("ABBA")
    with pytest.raises(ValueError, match="no fault of c"):
        word("c", 10, [("I1", 4)])
    with pytest.raises(ValueError, match="does not fit"):
        word("h", 6, [("E", 4)])
    with pytest.raises(ValueError, match="touches"):
        word("h", 12, [("I1", 4), ("I1", 5)])
