"""What befalls a site under load: it recovers, others do not notice, nothing is left. `make soak` does it longer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import FAIL_OTHERS, Faults, faults_of, movable_clock
from running_site import RunningSite, discard, open_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, mounts and limits are real")

NO_FAILURE = (
    "log_disk_full",
    "spool_disk_full",
    "memory_hog",
    "never_accepts",
    "wrong_user",
    "reload",
    "descriptors_gone",
)


OF_THE_FRONT_END = ("back_end_killed", "front_end_killed", "front_end_worker_killed", "spool_disk_full")
"""What depends on which front end there is: done behind nginx, too."""

CASES = [("lighttpd", name) for name in faults_of("lighttpd") if name != "supervisor_killed"]
CASES += [("nginx", name) for name in OF_THE_FRONT_END]


@pytest.fixture(scope="module")
def faults(front_end: str) -> Iterator[Faults]:
    folder = open_folder(Path())
    try:
        with Faults(RunningSite(folder, environment=movable_clock(folder)), front_end).running() as faults:
            yield faults
    finally:
        discard(folder)


@pytest.mark.parametrize(("front_end", "name"), CASES, scope="module")
def test_a_site_survives(faults: Faults, name: str) -> None:
    row = faults.run(name)
    assert row.left == []
    assert name in FAIL_OTHERS or row.others == 0
    assert name not in NO_FAILURE or row.failed == 0
