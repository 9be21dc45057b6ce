"""limits.request_timeout: a call into the application that takes too long, on both twins."""

from __future__ import annotations

import time

import pytest
import wire
from fcgi_server import Server, read_answer


@pytest.fixture
def start(tmp_path, twin_environment):
    """A function that starts a server of the slow applications with this limit."""
    servers = []

    def started(seconds, *options):
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        server = Server(directory, twin_environment, "native", "--limit", f"request_timeout={seconds}", *options)
        server._command[-1] = "slow_applications:native"
        servers.append(server)
        return server.__enter__()

    yield started
    for server in servers:
        server.__exit__()


@pytest.mark.parametrize("path", ["/forever", "/swallows"])
def test_call_that_takes_too_long_is_a_504_and_its_stack_is_in_the_log(start, path):
    server = start(1)
    assert server.ask(PATH_INFO=path).status == 504
    assert server.ask(PATH_INFO="/").body == b"quick"
    assert f"a call took longer than 1 s: GET '{path}'" in server.log
    assert "in forever" in server.log
    assert server.log.count("Traceback") == 0


def test_application_may_catch_it_and_is_stopped_again_if_it_goes_on(start):
    server = start(1)
    assert server.ask(PATH_INFO="/catches").body == b"caught"
    assert server.ask(PATH_INFO="/twice").body == b"2 times"


def test_after_the_head_the_answer_is_visibly_broken(start):
    server = start(1)
    answer = server.ask(PATH_INFO="/pieces")
    assert (answer.status, answer.body) == (200, b"begun")
    assert answer.app_status == -1, "it was broken off: no END_REQUEST lets it look whole"


def test_before_the_first_piece_it_is_a_504(start):
    assert start(1).ask(PATH_INFO="/empty-pieces").status == 504


@pytest.mark.parametrize(("seconds", "status"), [(1, 504), (60, 200)])
def test_at_the_limit_and_under_it(start, seconds, status):
    assert start(seconds).ask(PATH_INFO="/short").status == status


def test_calls_one_after_the_other_are_each_measured(start):
    server = start(10)
    with server.connect(timeout=30) as sock:
        for _ in range(3):
            sock.sendall(wire.request(PATH_INFO="/short"))
            assert read_answer(sock).status == 200


def test_alarm_of_the_application_is_left_alone(start):
    server = start(1)
    assert server.ask(PATH_INFO="/own").body == b"mine now"
    assert server.ask(PATH_INFO="/short").body == b"more than the limit"
    assert server.ask(PATH_INFO="/short").body == b"more than the limit"
    assert server.log.count("limits.request_timeout is not heeded: the application uses SIGALRM itself") == 1


def test_idle_worker_is_not_woken(start):
    server = start(1)
    assert server.ask(PATH_INFO="/").body == b"quick"

    def switches():
        with open(f"/proc/{server.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))

    before = -1

    def at_rest():  # the one alarm that was armed has gone off, and then nothing for three of its periods
        nonlocal before
        count, previous = switches(), before
        before = count
        time.sleep(3.2)
        return count == previous

    server.wait_for(at_rest, "a worker that sleeps", 60)


@pytest.mark.parametrize(("path", "where"), [("/never", "slow_applications.py"), ("/stuck", "slow_applications.py")])
def test_what_cannot_be_ended_ends_with_its_worker_and_another_answers(start, path, where):
    server = start(1, "--max-requests", "100000")
    before = server.ask(PATH_INFO="/pid").body
    with server.connect(timeout=60) as sock:
        sock.sendall(wire.request(PATH_INFO=path))
        assert sock.recv(1) == b"", "its connection ends without an answer"
    after = server.ask(PATH_INFO="/pid").body
    assert after not in (b"", before)
    assert "Timeout (0:00:0" in server.log
    assert where in server.log.partition("Timeout (0:00:0")[2]
    assert f"worker {before.decode()} exited with status 1; a new one starts" in server.log


def test_a_slow_call_is_told_with_its_stack_while_it_goes_on(start):
    server = start(0, "--limit", "slow_request_ms=200")
    assert server.ask(PATH_INFO="/short").body == b"more than the limit"
    assert server.log.count("a call takes longer than 0.2 s: GET '/short'") == 1
    assert 'slow_applications.py", line' in server.log
    assert server.ask(PATH_INFO="/").body == b"quick"
    assert server.ask(PATH_INFO="/short").body == b"more than the limit"
    assert server.log.count("a call takes longer than 0.2 s: GET '/short'") == 2


def test_a_slow_call_is_told_first_and_ended_then(start):
    server = start(1, "--limit", "slow_request_ms=200")
    assert server.ask(PATH_INFO="/forever").status == 504
    slow, over = server.log.find("takes longer than 0.2 s"), server.log.find("took longer than 1 s")
    assert 0 <= slow < over
