"""What the supervisor keeps of a child: its descriptors, all given back, and counts that never go back."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from framework.process.child import Child
from framework.process.logs import Output
from framework.process.parts import Part
from framework.process.poller import Poller
from framework.process.privileges import caller


@pytest.fixture
def new_child() -> Callable[[], Child]:
    poller = Poller()
    part = Part("web", "backend", ("/bin/true",), caller(), "/", {}, "/web")
    return lambda: Child(part, Output(os.open("/dev/null", os.O_WRONLY)), poller.watch, poller.unwatch)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_where_descriptors_run_out_none_stays_open(new_child: Callable[[], Child], tmp_path: Path) -> None:
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


def test_the_supervisor_takes_the_descriptors_that_it_may_have() -> None:
    program = (
        "import resource as r, framework.process.supervisor as s; hard = r.getrlimit(r.RLIMIT_NOFILE)[1]\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (64, min(512, hard))); s._want_descriptors(); print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(512, 512)\n"
