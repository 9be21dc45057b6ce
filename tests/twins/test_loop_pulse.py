"""What a worker loop calls by a timer comes from the loop itself: beside requests, and not while one hangs."""

from __future__ import annotations

import os
import threading
import time

import pytest
import wire
from fcgi_server import read_answer
from loop_thread import LoopThread

from fastcore.pulse import Pulse

PATIENCE = 20.0


@pytest.fixture
def calls():
    return []


@pytest.fixture
def pulse(calls):
    pulse = Pulse(0.01, lambda: calls.append(time.monotonic()))
    yield pulse
    pulse.close()


def wait_for(calls: list[float], count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(calls) < count:
        assert time.monotonic() < deadline, f"{len(calls)} calls only"
        time.sleep(0.005)


def test_it_is_called_while_the_loop_is_idle_and_beside_requests(twin, tmp_path, calls, pulse):
    with LoopThread(twin, lambda request: b"fine", tmp_path, pulse=(pulse.fileno(), pulse)) as loop:
        wait_for(calls, 3)
        with loop.connect() as sock:
            for _ in range(50):
                sock.sendall(wire.request())
                assert read_answer(sock).body == b"fine"
        wait_for(calls, len(calls) + 3)


def test_it_is_not_called_while_a_call_goes_on(twin, tmp_path, calls, pulse):
    begun, go_on = threading.Event(), threading.Event()
    lasted: list[float] = []

    def application(request):
        lasted.append(time.monotonic())
        begun.set()
        go_on.wait(PATIENCE)
        lasted.append(time.monotonic())
        return b"fine"

    with LoopThread(twin, application, tmp_path, pulse=(pulse.fileno(), pulse)) as loop, loop.connect() as sock:
        sock.sendall(wire.request())
        assert begun.wait(PATIENCE)
        time.sleep(0.1)  # ten times what it would take
        go_on.set()
        assert read_answer(sock).body == b"fine"
        wait_for(calls, len(calls) + 2)
    assert [moment for moment in calls if lasted[0] < moment < lasted[1]] == []


def test_a_descriptor_that_is_not_a_timer_is_as_good(twin, tmp_path):
    reader, writer = os.pipe()
    heard = threading.Event()

    def act() -> None:
        os.read(reader, 1)
        heard.set()

    with LoopThread(twin, lambda request: b"fine", tmp_path, pulse=(reader, act)):
        os.write(writer, b"x")
        assert heard.wait(PATIENCE)
    os.close(reader)
    os.close(writer)


def test_a_timer_that_is_looked_at_too_early_does_nothing():
    pulse = Pulse(3600.0, lambda: pytest.fail("it was not due"))
    pulse()
    pulse.close()


def test_a_time_that_the_kernel_refuses_leaves_no_descriptor():
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="timerfd"):
        Pulse(-1.0, print)
    assert os.listdir("/proc/self/fd") == before
