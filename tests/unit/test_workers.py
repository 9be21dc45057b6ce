"""What the parent of the workers says of their ends, whatever they were."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from fastcore.server import serve

PARENT = """
import os, signal, sys
from fastcore.workers import Prefork

def work(lifeline, number):
    os.kill(os.getpid(), int(sys.argv[1]))
    signal.pause()

def log(text):
    print(text, flush=True)

signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
print(Prefork(1, work, log, end_signals=(signal.SIGTERM,)).run())
"""


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGRTMIN, "SIGRTMIN"),
        (40, "signal 40"),
        (signal.SIGRTMAX - 1, f"signal {signal.SIGRTMAX - 1}"),
    ],
)
def test_a_worker_that_any_signal_has_killed_is_told_and_replaced(number: int, name: str) -> None:
    """Real-time signals have no names, and the parent ended with the first worker that one had killed."""
    with subprocess.Popen([sys.executable, "-c", PARENT, str(number)], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            for _ in range(3):
                assert f"was killed by {name}; a new one starts" in parent.stdout.readline()
            parent.terminate()
            assert parent.wait(20) == 0
        finally:
            parent.kill()


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_heartbeat_without_a_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="heartbeat is more than 0 seconds"):
        serve(lambda *_: [], "unix:/nowhere/x", heartbeat=(seconds, print))
