"""The memory budget: who ends, in which order, and who does not."""

from __future__ import annotations

from framework.process.budget import Candidate, choose


def candidates(*sizes: int) -> list[Candidate]:
    return [Candidate(str(size), size, lambda: None) for size in sizes]


def names(chosen: list[Candidate]) -> list[str]:
    return [each.what for each in chosen]


def test_nobody_ends_below_nine_tenths() -> None:
    assert choose(candidates(50), 89, 100) == []


def test_the_largest_end_first_and_no_more_than_needed() -> None:
    assert names(choose(candidates(5, 20, 10), 90, 100)) == ["20"]
    assert names(choose(candidates(5, 8, 6), 90, 100)) == ["8", "6"]


def test_all_that_may_end_do_where_that_is_not_enough() -> None:
    assert names(choose(candidates(5, 6), 150, 100)) == ["6", "5"]
