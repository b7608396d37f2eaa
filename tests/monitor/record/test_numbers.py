"""A sender's numbers: what was lost, and that sent = arrived + lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.record.numbers import LARGEST_GAP, Numbers


def lost(numbers: list[int], *, starts_at_zero: bool = False) -> int:
    state, total = Numbers(), 0
    for number in numbers:
        state, change = state.after(number, starts_at_zero=starts_at_zero)
        total += change
    return total


def test_no_gap_loses_nothing() -> None:
    assert lost([5, 6, 7]) == 0


def test_a_gap_is_what_lies_between() -> None:
    assert lost([0, 1, 5, 6]) == 3


def test_a_counter_that_restarts_is_no_gap() -> None:
    assert lost([0, 1, 2, 0, 1, 2]) == 0
    assert lost([10, 11, 12, 0, 1, 2]) == 0


def test_after_a_restart_gaps_are_counted_again() -> None:
    assert lost([0, 1, 2, 0, 3]) == 2


def test_a_frame_that_comes_late_is_not_lost() -> None:
    assert lost([0, 3, 1, 4, 2]) == 0


def test_what_a_known_counter_began_with_is_lost_too() -> None:
    assert lost([4, 5], starts_at_zero=True) == 4
    assert lost([4, 5]) == 0


def test_an_absurd_jump_is_a_counter_set_anew() -> None:
    assert lost([0, LARGEST_GAP + 1]) == LARGEST_GAP
    assert lost([0, LARGEST_GAP + 2]) == 0
    assert lost([0, 2**61, 2**61 + 1]) == 0


@given(st.sets(st.integers(0, 200), min_size=1).map(sorted))
def test_sent_is_arrived_and_lost(arrived: list[int]) -> None:
    assert arrived[-1] + 1 == len(arrived) + lost(arrived, starts_at_zero=True)


@given(st.permutations(range(30)))
def test_in_whatever_order_all_of_them_come_none_is_lost(order: list[int]) -> None:
    assert lost([0, 30, *(number for number in order if number)], starts_at_zero=True) == 0
