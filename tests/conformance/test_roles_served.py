"""Authorizers, filters and overload through sockets: what a client of each kind sees."""

from __future__ import annotations

import pytest
import wire
from fcgi_server import read_answer, read_to_end

ROLES = ("--role", "responder,authorizer", "--role", "filter")
FILE = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/filter", "FCGI_DATA_LENGTH": "9"}


@pytest.fixture(params=["native", "wsgi"])
def served(request, start):
    return start(request.param, *ROLES, "--limit", "body_memory=5000")


@pytest.mark.parametrize("end", [b"", wire.record(wire.STDIN, 1)])
@pytest.mark.parametrize(("user", "status"), [("alice", 200), ("eve", 403)])
def test_line_36_authorizer_answers_without_and_with_an_empty_stdin(served, end, user, status):
    with served.connect() as sock:
        parameters = {"REQUEST_METHOD": "POST", "PATH_INFO": "/authorize", "REMOTE_USER": user}
        sock.sendall(wire.begin(role=2, flags=0) + wire.params(1, parameters) + end)
        answer = wire.answer(read_to_end(sock))
    assert answer.status == status
    assert (b"Variable-AUTH_LEVEL: full" in answer.head) is (status == 200)
    assert (b"FCGI_ROLE=AUTHORIZER" in answer.body) is (status != 200)


def test_line_36_authorizer_on_a_kept_connection_between_responders(served):
    with served.connect() as sock:
        for number in range(5):
            sock.sendall(
                wire.begin(1, role=2) + wire.params(1, {"PATH_INFO": "/authorize", "REMOTE_USER": f"user {number}"})
            )
            assert b"FCGI_ROLE=AUTHORIZER" in read_answer(sock, 1).body
            sock.sendall(wire.request(3, PATH_INFO="/authorize", REMOTE_USER="alice"))
            assert b"FCGI_ROLE=None" in read_answer(sock, 3).body


@pytest.mark.parametrize("size", [0, 9, 4000, 200_000])
def test_line_42_filter_reads_its_body_and_its_file(served, size):
    with served.connect() as sock:
        sock.sendall(wire.begin(role=3, flags=0) + wire.params(1, FILE) + wire.stdin(1, b"body"))
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)  # the file is awaited
        sock.settimeout(20)
        for start in range(0, size, 60_000):
            sock.sendall(wire.record(wire.DATA, 1, b"d" * min(60_000, size - start)))
        sock.sendall(wire.record(wire.DATA, 1))
        answer = wire.answer(read_to_end(sock))
    assert answer.body == b"FILTER body %d" % size
    # line 43: the application compares what was announced with what has come
    assert (b"X-Mismatch: yes" in answer.head) is (size != 9)


@pytest.mark.parametrize("sent", [b"", b"file" * 10_000])
def test_line_44_refused_filter_drains_its_file(served, sent):
    with served.connect() as sock:
        sock.sendall(wire.begin(role=3, flags=0) + wire.params(1, FILE | {"FCGI_DATA_LENGTH": "99999999999"}))
        sock.sendall(wire.stdin(1, b"body"))
        if sent:
            sock.sendall(wire.record(wire.DATA, 1, sent))
        sock.sendall(wire.record(wire.DATA, 1))
        assert wire.answer(read_to_end(sock)).status == 413


def test_line_21_server_that_is_only_an_authorizer_answers_no_page(start):
    server = start("native", "--role", "authorizer")
    with server.connect() as sock:
        sock.sendall(wire.request(flags=0, PATH_INFO="/hello"))
        assert wire.answer(read_to_end(sock)).protocol_status == 3


def test_line_23_overload_as_a_page(start):
    server = start("native", "--overload", "page", "--limit", "requests_per_connection=2")
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        sock.sendall(b"".join(wire.begin(number) + wire.params(number, post) for number in (1, 2, 3)))
        answer = read_answer(sock, 3)
        assert answer.status == 503
        assert b"Retry-After: " in answer.head
        sock.sendall(wire.stdin(1, b"fine"))
        assert read_answer(sock, 1).body == b"fine"


def test_line_39_late_end_of_stdin_on_a_kept_connection_costs_no_lingering(start):
    """An early answer, its input ended late, then a request that closes: the end of file comes with its answer."""
    server = start("native", "--limit", "body=10", "--limit", "linger_timeout=3600")
    server.settle()
    at_rest = server.descriptors()
    with server.connect(timeout=20) as sock:
        sock.sendall(
            wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "11", "PATH_INFO": "/echo"})
        )
        assert read_answer(sock).status == 413
        sock.sendall(wire.stdin(1, b"late answer") + wire.request(2, flags=0, PATH_INFO="/hello"))
        assert read_answer(sock, 2).body == b"hello"
        assert sock.recv(1) == b""
        server.wait_for(lambda: server.descriptors() == at_rest, "the connection's descriptor")
