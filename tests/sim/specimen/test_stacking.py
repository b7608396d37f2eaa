"""Stacking words: each fault obeys its rule, and is found again."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.specimen.stacking import LAMELLA, OTHER, POLYTYPE, RUNS, find_faults, surroundings, word


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


def turned(letters: str, by: int) -> str:
    """The letters, each so many places on in A, B, C."""
    return "".join("ABC"[("ABC".index(letter) + by) % 3] for letter in letters)


@pytest.mark.parametrize(
    ("base", "kind", "stack"),
    [
        # What is done to the perfect stack (Hirth and Lothe, ch. 10), written out layer by layer.
        ("h", "I1", "ABABAB" + turned("BABABA", 1)),  # an A is taken out; what is above slips
        ("h", "I2", "ABABAB" + turned("ABABAB", 2)),  # what is above slips
        ("h", "E", "ABABAB" + "C" + "ABABAB"),  # a layer is put in
        ("c", "intrinsic", "ABCABC" + "BCABCABC"),  # an A is taken out
        ("c", "extrinsic", "ABCABC" + "B" + "ABCABC"),  # a layer is put in
        ("c", "twin", "ABCABC" + "BACBAC"),  # what is above is the mirror image of what is below
    ],
)
def test_each_fault_is_what_is_done_to_the_stack(base: str, kind: str, stack: str) -> None:
    (fault,) = find_faults(stack, base)
    assert fault.kind == kind
    assert 3 <= fault.layer <= 7


def test_perfect_words() -> None:
    assert word("h", 6) == "ABABAB"
    assert word("c", 7) == "ABCABCA"
    assert surroundings("ABABAB") == "hhhh"
    assert surroundings("ABCABC") == "cccc"


@settings(deadline=None)
@given(st.sampled_from([(b, k) for b in RUNS for k in RUNS[b]]), st.integers(8, 40), st.data())
def test_a_fault_is_found_where_it_was_put(
    base_and_kind: tuple[str, str], layers: int, data: st.DataObject
) -> None:
    base, kind = base_and_kind
    first = data.draw(st.integers(1, layers - 1 - len(RUNS[base][kind])))
    (fault,) = find_faults(word(base, layers, [(kind, first)]), base)
    assert (fault.kind, fault.layer, fault.layers) == (kind, first, len(RUNS[base][kind]))


@settings(deadline=None)
@given(st.sampled_from("hc"), st.integers(3, 60))
def test_close_packing_never_repeats_a_letter(base: str, layers: int) -> None:
    stack = word(base, layers)
    assert all(a != b for a, b in pairwise(stack))
    assert find_faults(stack, base) == ()


@settings(deadline=None)
@given(st.sampled_from("hc"), st.integers(LAMELLA, 9), st.integers(1, 6), st.integers(1, 6))
def test_a_lamella_is_a_polytype_and_no_fault(base: str, count: int, before: int, after: int) -> None:
    """From four layers of the other letter on, wherever they lie, also at the end of the word."""
    layers = before + count + after
    stack = word(base, layers, lamellas=[(before, count)])
    (lamella,) = find_faults(stack, base)
    assert (lamella.kind, lamella.layer, lamella.layers) == (POLYTYPE, before, count)
    assert surroundings(stack).count(OTHER[base]) == count


@pytest.mark.parametrize(("base", "kind"), [("h", "E"), ("c", "other")])
def test_one_layer_fewer_is_no_polytype(base: str, kind: str) -> None:
    """Three cubic layers in wurtzite are an extrinsic fault; three hexagonal ones in a cubic stack have no name."""
    stack = word(base, 20, lamellas=[(8, LAMELLA)])
    letters = surroundings(stack)
    shorter = letters[:7] + letters[8:]
    word_of_it = "AB"
    step = 1
    for letter in shorter:
        step = -step if letter == "h" else step
        word_of_it += "ABC"[("ABC".index(word_of_it[-1]) + step) % 3]
    assert [fault.kind for fault in find_faults(word_of_it, base)] == [kind]


@settings(deadline=None)
@given(st.sampled_from([(b, k) for b in RUNS for k in RUNS[b]]), st.integers(2, 3), st.booleans())
def test_a_fault_beside_a_lamella_keeps_its_name(
    base_and_kind: tuple[str, str], gap: int, below: bool
) -> None:
    """Two layers apart or more; a single layer between them is enough in cubic stacks too."""
    base, kind = base_and_kind
    length = len(RUNS[base][kind])
    first, lamella = (4, 4 + length + gap) if below else (4 + 5 + gap, 4)
    found = find_faults(word(base, 30, [(kind, first)], [(lamella, 5)]), base)
    assert sorted(fault.kind for fault in found) == sorted([kind, POLYTYPE])


def test_bad_words_are_refused() -> None:
    with pytest.raises(ValueError, match="no close packing"):
        surroundings("ABBA")
    with pytest.raises(ValueError, match="no fault of c"):
        word("c", 10, [("I1", 4)])
    with pytest.raises(ValueError, match="does not fit"):
        word("h", 6, [("E", 4)])
    with pytest.raises(ValueError, match="touches"):
        word("h", 12, [("I1", 4), ("I1", 5)])
    with pytest.raises(ValueError, match="from 4 on it is a polytype"):
        word("h", 20, lamellas=[(5, LAMELLA - 1)])
    with pytest.raises(ValueError, match="does not fit"):
        word("h", 20, lamellas=[(17, LAMELLA)])
    with pytest.raises(ValueError, match="touches"):
        word("h", 20, [("I1", 9)], [(5, 4)])
