"""Live tests: one run at a time on a machine, and nothing left behind, checked after each test and at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from leftovers import Snapshot, adopt_orphans, take_live_lock

LOCK = pytest.StashKey[Any]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    # Outside the test's own protocol: the wait does not count towards its time limit.
    if LOCK not in item.config.stash:
        item.config.stash[LOCK] = take_live_lock()
        adopt_orphans()
    return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    lock = config.stash.get(LOCK, None)
    if lock is not None:
        lock.close()


def _check(scope: str) -> Iterator[None]:
    before = Snapshot()
    yield
    left = before.report()
    if left:
        pytest.fail(f"this {scope} left behind: " + "; ".join(left), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_by_run() -> Iterator[None]:
    yield from _check("run of live tests")


@pytest.fixture(autouse=True)
def nothing_left_by_test(nothing_left_by_run: None) -> Iterator[None]:
    """Set up after fixtures of wider scope: what they started may stay until their scope ends."""
    yield from _check("test")
