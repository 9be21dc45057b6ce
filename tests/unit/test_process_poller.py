"""What is read from children until they have said all, or their time is over."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from framework.process.poller import Poller, collect


def said(command: str, **more: object) -> dict[int, bytes]:
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        ends = (child.stdout.fileno(), child.stderr.fileno())
        try:
            return dict(enumerate(collect(ends, **{"seconds": 60.0, "limit": 100, **more}).values()))  # type: ignore[arg-type]
        finally:
            child.kill()


@pytest.fixture(autouse=True)
def no_descriptor_stays() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


def test_all_that_comes_until_all_have_ended() -> None:
    assert said("echo one; echo two >&2; sleep 0.1; echo three") == {0: b"one\nthree\n", 1: b"two\n"}
    assert said("seq 100000 | tr -d '\\n'; echo end >&2", limit=5) == {0: b"00000", 1: b"end\n"}


def test_one_that_prints_for_ever_has_its_time_too() -> None:
    with pytest.raises(TimeoutError):
        said("while :; do echo more; done", seconds=0.3)
    with pytest.raises(TimeoutError):
        said("sleep 60", seconds=0.1)


def test_it_need_not_wait_for_all() -> None:
    reader, writer = os.pipe()
    silent, held = os.pipe()
    os.write(writer, b"table")
    os.close(writer)
    assert collect((reader, silent), 60.0, 100, until=reader) == {reader: b"table", silent: b""}
    for number in (reader, silent, held):
        os.close(number)


def test_closing_one_leaves_the_signals_of_another_alone() -> None:
    caught: list[int] = []
    old = signal.getsignal(signal.SIGUSR1)
    outer, inner = Poller(), Poller()
    try:
        outer.catch([signal.SIGUSR1], caught.append)
        inner.close()
        os.kill(os.getpid(), signal.SIGUSR1)
        outer.wait(60.0)
    finally:
        outer.close()
        signal.signal(signal.SIGUSR1, old)
    assert caught == [signal.SIGUSR1]
