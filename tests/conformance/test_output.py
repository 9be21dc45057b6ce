"""Lines 46 to 52 of the checklist: answers (FastCGI 1.0 §3.3, §6.2; RFC 3875 §6), without a socket and through one."""

from __future__ import annotations

import pytest
import wire
from conversation import feed
from fcgi_server import read_answer, read_records, read_to_end


def test_line_46_stderr_is_terminated_only_if_used(connection):
    feed(connection, wire.request(1) + wire.request(2))
    connection.send_stderr(1, b"complaint")
    connection.send_stderr(2, b"")
    for request_id in (1, 2):
        connection.send_stdout(request_id, b"x")
        connection.end_request(request_id)
    found = wire.records(connection.data_to_send())
    assert wire.answer(found, 1).stderr == b"complaint"
    assert not [record for record in found if record.id == 2 and record.type == wire.STDERR]


def test_line_47_errors_interleave_without_cutting_the_head(server):
    answer = server.ask(PATH_INFO="/errors")
    assert answer.stderr == b"first complaint\n"
    assert answer.status == 200
    assert answer.body == b"complained"


def test_line_48_status_line_always_and_no_header_injection(server):
    assert server.ask(PATH_INFO="/hello").head == b"Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5"
    answer = server.ask(PATH_INFO="/bad-header")
    assert answer.status == 500
    assert b"Set-Cookie" not in answer.stdout
    assert "has a control character" in server.log


@pytest.mark.parametrize("status", ["204", "304"])
def test_line_49_no_body_where_there_may_be_none(server, status):
    assert server.ask(PATH_INFO="/status", QUERY_STRING=status).body == b""


def test_line_49_head_has_the_length_and_no_body(server):
    answer = server.ask(REQUEST_METHOD="HEAD", PATH_INFO="/hello")
    assert b"Content-Length: 5" in answer.head
    assert answer.body == b""


def test_line_49_content_length_over_and_under_run(server):
    for flags in (0, wire.KEEP):
        with server.connect() as sock:
            sock.sendall(wire.request(flags=flags, PATH_INFO="/short"))
            short = wire.answer(read_to_end(sock))  # HAProxy waits for the rest unless the connection ends
        assert (short.body, short.app_status) == (b"four", 1)
    over = server.ask(PATH_INFO="/over")
    assert (over.body, over.app_status) == (b"four", 1)
    assert server.ask(PATH_INFO="/mismatch").status == 500
    assert "shorter than its Content-Length: 6 bytes are missing" in server.log
    assert "longer than its Content-Length" in server.log


@pytest.mark.parametrize("path", ["/boom", "/exit", "/early", "/bad-status", "/bad-body", "/nothing"])
def test_line_50_failure_before_the_head_is_a_500_without_inner_text(server, path):
    answer = server.ask(PATH_INFO=path)
    assert answer.status == 500
    assert answer.body == b"500 Internal Server Error\n"
    assert answer.app_status == 0
    assert f"GET {path!r}" in server.log


@pytest.mark.parametrize(("path", "so_far"), [("/late", b"so far so good"), ("/bad-chunk", b"good")])
def test_line_50_failure_after_the_head_breaks_the_answer_off(server, path, so_far):
    """Front ends ignore appStatus: the connection ends without the ends of the streams, and with what is no record."""
    for flags in (0, wire.KEEP):
        with server.connect() as sock:
            sock.sendall(wire.request(flags=flags, PATH_INFO=path))
            answer = wire.answer(read_to_end(sock))
        assert (answer.status, answer.body, answer.broken) == (200, so_far, True)


def test_line_50_failure_beside_other_requests_shows_in_app_status_and_harms_none(server, tmp_path):
    gate = tmp_path / "gate"
    with server.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/held", QUERY_STRING=str(gate)))
        sock.sendall(wire.request(3, PATH_INFO="/late"))
        broken = read_answer(sock, 3)
        assert (broken.body, broken.app_status) == (b"so far so good", 1)
        sock.sendall(wire.record(wire.ABORT, 1))
        sock.sendall(wire.request(5, PATH_INFO="/late"))
        assert wire.answer(read_to_end(sock), 5).broken


def test_line_50_request_that_came_while_another_failed_is_answered(server, tmp_path):
    """It is in the socket, not yet read, when the answer before it breaks."""
    gate = tmp_path / "gate"
    with server.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/late-gate", QUERY_STRING=str(gate)))
        (first,) = read_records(sock, 1)
        sock.sendall(wire.request(3, PATH_INFO="/hello"))
        gate.touch()
        found = [first, *read_records(sock, 5)]
    assert wire.answer(found, 1).app_status == 1
    assert wire.answer(found, 3).body == b"hello"


def test_line_51_each_yield_is_one_record_at_once(server, tmp_path):
    """The second piece is made only when this test has read the first."""
    gate = tmp_path / "gate"
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/events", QUERY_STRING=str(gate)))
        data = b""
        while b"data: first" not in data:
            data += sock.recv(65536)
        assert b"second" not in data
        gate.touch()
        while wire.record(wire.END, 1, bytes(8)) not in data:
            data += sock.recv(65536)
    pieces = [record.content for record in wire.records(data) if record.type == wire.STDOUT]
    assert [piece.partition(b"\r\n\r\n")[2] or piece for piece in pieces] == [
        b"data: first\n\n",
        b"data: second\n\n",
        b"",
    ]


def test_line_46_streams_are_terminated_and_stderr_is_there_only_if_used(server):
    with server.connect() as sock:
        for path, kinds in (
            ("/hello", [wire.STDOUT, wire.STDOUT, wire.END]),
            ("/errors", [wire.STDERR, wire.STDOUT, wire.STDERR, wire.STDOUT, wire.END]),
            ("/empty", [wire.STDOUT, wire.STDOUT, wire.END]),
        ):
            sock.sendall(wire.request(PATH_INFO=path))
            found = read_records(sock, len(kinds))
            wire.answer(found)  # asserts terminated streams
            assert sorted(record.type for record in found) == sorted(kinds)


@pytest.mark.parametrize("name", ["X-Good\r\nSet-Cookie", "X Y", "", "X:", "X\0"])
def test_line_48_header_names_that_are_none_are_refused(server, name):
    answer = server.ask(PATH_INFO="/header-name", QUERY_STRING=name)
    assert answer.status == 500
    assert b"Cookie" not in answer.stdout


def test_line_48_answer_begins_with_a_cgi_status_and_no_http_status_line(server):
    for path in ("/hello", "/boom", "/cookies", "/status"):
        assert server.ask(PATH_INFO=path, QUERY_STRING="404").stdout.startswith(b"Status: ")


@pytest.mark.parametrize("status", ["204", "304"])
def test_line_49_answer_without_a_body_leaves_the_connection_usable(server, status):
    with server.connect() as sock:
        for method in ("GET", "HEAD"):
            sock.sendall(wire.request(REQUEST_METHOD=method, PATH_INFO="/status", QUERY_STRING=status))
            answer = read_answer(sock)
            assert (answer.status, answer.body, answer.app_status) == (int(status), b"", 0)


@pytest.mark.parametrize("application", ["native", "wsgi"])
def test_line_52_authorizer_says_yes_with_variables_and_no_with_a_whole_answer(start, application):
    server = start(application, "--role", "authorizer")
    with server.connect() as sock:
        for user, status in (("alice", 200), ("eve", 403), ("alice", 200)):
            parameters = {"REQUEST_METHOD": "GET", "PATH_INFO": "/authorize", "REMOTE_USER": user}
            sock.sendall(wire.begin(role=2) + wire.params(1, parameters) + wire.stdin())
            answer = read_answer(sock)
            assert answer.status == status
            assert (b"Variable-AUTH_LEVEL: full" in answer.head.split(b"\r\n")) is (status == 200)
            assert bool(answer.body) is (status == 403)
