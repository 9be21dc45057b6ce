"""Live tests: one module at a time on a machine, and nothing left behind, checked after each test, module and run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from leftovers import Snapshot, adopt_orphans, machine_state, take_live_lock

LOCK = pytest.StashKey[Any]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Any:
    # Outside the test's own protocol: the wait does not count towards its time limit.
    if LOCK not in item.config.stash:
        item.config.stash[LOCK] = take_live_lock()
        adopt_orphans()
    try:
        return (yield)
    finally:
        if nextitem is None or nextitem.path != item.path:
            release(item.config)


def release(config: pytest.Config) -> None:
    if LOCK in config.stash:
        config.stash[LOCK].close()
        del config.stash[LOCK]


def pytest_unconfigure(config: pytest.Config) -> None:
    release(config)


def check(scope: str) -> Iterator[None]:
    before = Snapshot()
    yield
    refuse(scope, before.report())


def refuse(scope: str, left: list[str]) -> None:
    if left:
        pytest.fail(f"this {scope} left behind: " + "; ".join(left), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_by_run() -> Iterator[None]:
    yield from check("run of live tests")


@pytest.fixture(scope="module", autouse=True)
def nothing_left_on_machine(nothing_left_by_run: None) -> Iterator[None]:
    """Users, groups and site directories: the machine is this module's own while it holds the lock."""
    before = machine_state()
    yield
    refuse("module", sorted(machine_state() - before))


@pytest.fixture(autouse=True)
def nothing_left_by_test(nothing_left_on_machine: None) -> Iterator[None]:
    """Set up after fixtures of wider scope: what they started may stay until their scope ends."""
    machine = machine_state()
    yield from check("test")
    refuse("test", sorted(machine_state() - machine))
