"""As many workers as there is work for: more while all are busy, fewer when they have been idle; on both twins."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
import wire
from fcgi_server import children, read_to_end

from fastcore.elastic import Scaling
from fastcore.scoreboard import BUCKETS, Worker


def test_more_workers_come_while_all_are_busy_and_surplus_ones_end(start, tmp_path: Path) -> None:
    server = start("native", "--workers", "3", "--min-workers", "1", "--idle-exit", "1")
    gate = tmp_path / "gate"
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    assert len(children(server.pid)) == 1
    with ExitStack() as stack:
        held = []
        for number in range(4):  # the fourth waits in the listener: there are never more than three
            sock = stack.enter_context(server.connect())
            sock.sendall(wire.request(PATH_INFO="/held", QUERY_STRING=str(gate), flags=0))
            held.append(sock)
            server.wait_for(lambda: len(children(server.pid)) == min(number + 1, 3), "one more worker")  # noqa: B023
        gate.touch()
        for sock in held:
            assert b"held" in read_to_end(sock)
    server.wait_for(lambda: len(children(server.pid)) == 1, "the end of those that have nothing to do")
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    (last,) = children(server.pid)
    os.kill(last, signal.SIGTERM)
    server.wait_for(
        lambda: last not in children(server.pid) and children(server.pid), "another in the last one's place"
    )
    os.kill(server.pid, signal.SIGTERM)
    assert server.process.wait(30) == 0


def worker(number: int, state: str, seconds: float) -> Worker:
    return Worker(number, 100 + number, state, seconds, 99.0, 0, 0, 0.0, "", (0,) * BUCKETS)


def test_one_more_is_wanted_when_all_are_busy_and_a_connection_waits() -> None:
    scaling = Scaling(1, 3, 60.0)
    assert scaling.look([worker(0, "handling", 1.0)], True, 10.0) == []
    assert scaling.wanted == 2
    assert scaling.next_look == pytest.approx(10.1)
    scaling.look([worker(0, "handling", 1.0)], True, 10.1)  # the second is not there yet
    assert scaling.wanted == 2


def test_one_more_is_wanted_when_all_are_busy_at_two_looks() -> None:
    scaling = Scaling(1, 2, 60.0)
    scaling.look([worker(0, "handling", 1.0)], False, 10.0)
    assert scaling.wanted == 1
    scaling.look([worker(0, "handling", 1.1)], False, 10.1)
    assert scaling.wanted == 2
    scaling.look([worker(0, "handling", 1.1), worker(1, "handling", 0.1)], True, 10.2)
    assert scaling.wanted == 2


def test_one_that_reads_or_writes_can_take_another() -> None:
    scaling = Scaling(1, 2, 60.0)
    for now in (1.0, 2.0):
        scaling.look([worker(0, "reading", 9.0)], True, now)
    assert scaling.wanted == 1
    assert scaling.next_look == 0.0


def test_the_longest_idle_ends_and_the_least_number_stays() -> None:
    scaling = Scaling(2, 4, 60.0)
    scaling.wanted = 4
    three = [worker(0, "idle", 70.0), worker(1, "idle", 80.0), worker(2, "idle", 90.0)]
    assert scaling.look([*three, worker(3, "handling", 1.0)], False, 100.0) == [102, 101]
    assert scaling.wanted == 2
    assert scaling.next_look == 0.0  # nothing more to end: nobody looks until a connection comes


def test_the_next_look_is_when_the_longest_idle_may_end() -> None:
    scaling = Scaling(1, 4, 60.0)
    scaling.wanted = 2
    assert scaling.look([worker(0, "idle", 20.0), worker(1, "idle", 50.0)], False, 100.0) == []
    assert scaling.next_look == pytest.approx(110.0)


def test_a_least_number_above_the_most_is_refused() -> None:
    with pytest.raises(ValueError, match="min_workers is from 1 to workers, not 3 of 2"):
        Scaling(3, 2, 60.0)
