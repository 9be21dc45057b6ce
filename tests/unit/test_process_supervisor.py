"""When the supervisor wakes up, and when it does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from framework.process.logs import Output
from framework.process.parts import Part
from framework.process.privileges import caller
from framework.process.supervisor import Supervisor
from framework.site import load

TEXT = """\
[site]
name = "example"
memory = "100 MiB"
run_directory = "{folder}/run"
state_directory = "{folder}/state"
[[host]]
name = "a.localhost"
backends = ["web"]
[backend.web]
application = "web:app"
processes = "ondemand"
"""


def test_processes_that_do_not_end_when_they_are_replaced_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framework.process.supervisor.MAX_RETIRED", 2)
    (tmp_path / "site.toml").write_text(TEXT.format(folder=tmp_path))
    supervisor = Supervisor(load(tmp_path), Output())
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    processes = []
    try:
        for name in ("web", "other", "web", "web"):
            command = [sys.executable, "-S", "-c", stubborn]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
            processes.append(process)
            assert process.stdout is not None
            process.stdout.readline()
            child = supervisor.new_child(Part(name, "backend", ("/bin/true",), caller(), "/", {}, ""))
            child.health.started(process.pid, time.monotonic(), time.time())
            supervisor.retire(child, 600.0)
        assert processes[0].wait(20) == -signal.SIGKILL
        assert [process.poll() for process in processes[1:]] == [None, None, None]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
        supervisor.poller.close()


def test_while_it_stops_it_waits_for_ends_and_looks_at_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(TEXT.format(folder=tmp_path))
    supervisor = Supervisor(load(tmp_path), Output())
    try:
        kinds = {"lighttpd": "frontend", "web": "backend"}
        for name, kind in kinds.items():
            child = supervisor.new_child(Part(name, kind, ("/bin/true",), caller(), "/", {}, ""))
            child.health.became_ready(time.monotonic(), time.time())
            supervisor.children.append(child)
        supervisor.announced = True
        due = supervisor._next_deadline()
        assert due is not None
        assert due <= time.monotonic()  # whether the back end is idle, how much memory is used
        supervisor.stop("SIGTERM")
        assert supervisor._next_deadline() == supervisor.children[0].health.deadline > time.monotonic()
    finally:
        supervisor.poller.close()
