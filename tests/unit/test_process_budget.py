"""The memory budget: who ends, in which order, and who does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from framework.process import budget
from framework.process.budget import Budget, Candidate, choose


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


def test_who_asks_for_the_status_often_has_no_memory_measured_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading PSS makes the kernel walk all pages of a process, and members of the control_group may ask at will."""
    now, measured = [1000.0], []

    def memory_of(pids: list[int]) -> dict[str, int | None]:
        measured.append(pids)
        return {"rss": 0, "pss": 7}

    monkeypatch.setattr(budget, "memory_of", memory_of)
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    supervisor: Any = SimpleNamespace(site=SimpleNamespace(memory=100), everyone=lambda: [])
    kept = Budget(supervisor)
    answers = [kept.describe() for _ in range(50)]
    assert len(measured) == 1
    assert all(answer == {"limit": 100, "used": 7, "ended": 0, "note": ""} for answer in answers)
    now[0] += budget.FRESH_SECONDS
    kept.describe()
    assert len(measured) == 2
