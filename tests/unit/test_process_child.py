"""What the supervisor keeps of a child: its descriptors, all given back, and counts that never go back."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from fastcore import scoreboard
from framework.process.child import Child
from framework.process.counts import Counts
from framework.process.logs import Output
from framework.process.parts import Part
from framework.process.poller import Poller
from framework.process.privileges import caller, resolve


@pytest.fixture
def new_child() -> Callable[..., Child]:
    poller = Poller()
    part = Part("web", "backend", ("/bin/true",), caller(), "/", {}, "/web")
    return lambda counts=None: Child(part, Output(), poller.watch, poller.unwatch, counts)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_where_descriptors_run_out_none_stays_open(new_child: Callable[..., Child]) -> None:
    child = new_child()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            child.open_outputs(64)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    child.close()
    assert open_descriptors() == before


def answered(board: int, place: int, requests: int, seconds: float) -> None:
    """What a worker of that place writes when it has answered so many."""
    head = scoreboard.HEAD.pack(2, os.getpid(), scoreboard.IDLE, 0, requests, 0.0, 0.0, 0, 0, 0, 0)
    os.pwrite(board, head, place * scoreboard.PAGE)
    at = scoreboard.BUCKETS_AT + 4 * scoreboard.bucket_of(seconds)
    os.pwrite(board, requests.to_bytes(4, sys.byteorder), place * scoreboard.PAGE + at)


def test_requests_are_summed_over_all_processes_of_a_back_end(new_child: Callable[..., Child]) -> None:
    before, counts = open_descriptors(), Counts()
    first, second = new_child(counts), new_child(counts)

    def told(child: Child) -> tuple[int, int, int]:
        row = child.describe()
        return row["requests"], sum(count for _, count in row["latencies"]), len(row["workers"])

    answered(first.open_scoreboard(2), 0, 3, 0.001)
    board = second.open_scoreboard(2)
    assert told(second) == (3, 3, 0)  # before it takes over
    answered(board, 1, 4, 0.5)
    assert told(second) == (7, 7, 1)
    first.close()  # the old one ends after the new one has come
    assert told(second) == (7, 7, 1)
    second.open_scoreboard(2)  # it is started again
    assert told(second) == (7, 7, 0)
    assert second.describe()["p99"] is None
    second.close()
    assert told(second) == (7, 7, 0)
    assert open_descriptors() == before


def test_the_supervisor_takes_the_descriptors_that_it_may_have() -> None:
    program = (
        "import resource as r, framework.process.supervisor as s; hard = r.getrlimit(r.RLIMIT_NOFILE)[1]\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (64, min(512, hard))); s._want_descriptors(); print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(512, 512)\n"


@pytest.mark.parametrize(
    ("program", "how"), [("exec sleep 60", -signal.SIGKILL), ("trap 'exit 3' TERM; echo ready; cat", 3)]
)
def test_who_is_first_in_a_namespace_ends_also_when_told_before_it_has_a_handler(program: str, how: int) -> None:
    """The kernel drops the signal then (pid_namespaces(7))."""
    poller = Poller()
    rights = resolve("nobody") if os.geteuid() == 0 else caller()
    part = Part("web", "frontend", ("/bin/sh", "-c", program), rights, "/", {}, "", contained=True)
    child = Child(part, Output(), poller.watch, poller.unwatch)
    given, end = os.pipe()
    child.start(part.launch({0: given}, (), {}))
    try:
        if "ready" in program:
            poller.work_off(time.monotonic() + 20, lambda: bool(child.health.lines))
        child.signal(signal.SIGTERM)
        os.close(end)  # what cat waits for, so that the shell gets to its trap
        handle = os.pidfd_open(child.health.pid)
        noticed = bool(select.select([handle], [], [], 20)[0])
        os.close(handle)
    finally:
        child.kill()
        _, status = os.waitpid(child.health.pid, 0)
        child.close()
        os.close(given)
    assert noticed
    assert os.waitstatus_to_exitcode(status) == how
