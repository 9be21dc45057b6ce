"""Lines 35 to 41 of the checklist: a responder's input (FastCGI 1.0 §6.2), without a socket and through one."""

from __future__ import annotations

import os
import threading

import pytest
import wire
from conversation import feed, story
from fcgi_server import read_answer, read_to_end

from fastcore.limits import Limits


@pytest.mark.parametrize("length", [None, "0", ""])
def test_line_35_no_body_without_waiting_for_the_end_of_stdin(connection, length):
    parameters = {"REQUEST_METHOD": "GET"} | ({} if length is None else {"CONTENT_LENGTH": length})
    told = story(feed(connection, wire.begin() + wire.params(1, parameters)))
    assert [entry[0] for entry in told] == ["request", "BodyEnded"]


def test_line_35_declared_empty_post_does_not_wait(connection):
    told = story(feed(connection, wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "0"})))
    assert [entry[0] for entry in told] == ["request", "BodyEnded"]


def test_line_35_body_of_unknown_length_ends_with_stdin(connection):
    post = {"REQUEST_METHOD": "POST"}
    told = story(feed(connection, wire.begin() + wire.params(1, post) + wire.stdin(1, b"chunked upload", chunk=3)))
    assert told[1:] == [("body", 1, b"chunked upload"), ("BodyEnded", 1)]


def test_line_37_short_stdin_is_visible_and_long_stdin_cut(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "6"}
    short = story(feed(connection, wire.begin(1) + wire.params(1, post) + wire.stdin(1, b"four")))
    assert short[1:] == [("body", 1, b"four"), ("BodyEnded", 1)]
    long = story(feed(connection, wire.begin(2) + wire.params(2, post) + wire.stdin(2, b"eight by", chunk=3)))
    assert long[1:] == [("body", 2, b"eight "), ("BodyEnded", 2)]


@pytest.mark.parametrize(
    "length", ["-2", "-1 ", "-01", "1,2", "+5", " 5", "5 ", "0x10", "1e3", "5\xb2", "9" * 19, "9" * 400]
)
def test_line_38_nonsense_content_length_is_refused(connection, length):
    parameters = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length}
    assert story(feed(connection, wire.begin() + wire.params(1, parameters) + wire.stdin(1, b"x"))) == [
        ("refused", 1, 400)
    ]


def test_line_38_body_over_the_limit_is_refused_before_it_is_read(twin):
    limits = Limits(body=1000)
    for declared, refused in ((1000, False), (1001, True)):
        data = wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(declared)})
        told = story(feed(twin.connection.Connection(limits), data))
        assert (told == [("refused", 1, 413)]) is refused


def test_line_38_undeclared_body_over_the_limit_is_refused(twin):
    limits = Limits(body=1000)
    for length in ({}, {"CONTENT_LENGTH": "-1"}):
        for size, refused in ((1000, False), (1001, True)):
            post = {"REQUEST_METHOD": "POST"} | length
            data = wire.begin() + wire.params(1, post) + wire.stdin(1, bytes(size), chunk=100)
            told = story(feed(twin.connection.Connection(limits), data))
            assert (("refused", 1, 413) in told) is refused
            assert (("BodyEnded", 1) in told) is not refused


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_line_38_length_of_minus_one_is_unknown_and_the_body_is_what_comes(connection, method):
    """Caddy says so of what is chunked, and over HTTP/3 of every request without a length."""
    parameters = {"REQUEST_METHOD": method, "CONTENT_LENGTH": "-1"}
    for number, body in ((1, b""), (2, b"body")):
        events = feed(connection, wire.begin(number) + wire.params(number, parameters))
        assert [entry[0] for entry in story(events)] == ["request"], "it waits for the end of STDIN"
        told = story(feed(connection, wire.stdin(number, body)))
        assert told == [("body", number, body)] * bool(body) + [("BodyEnded", number)]


@pytest.mark.parametrize(("length", "status"), [("-2", 400), ("-11", 400), ("1,2", 400), ("99999999999", 413)])
def test_line_38_bad_content_length_never_reaches_the_application(server, length, status):
    answer = server.ask(
        wire.begin(flags=0)
        + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "PATH_INFO": "/die"})
        + wire.stdin(1, b"x")
    )
    assert answer.status == status


def test_line_39_input_after_an_early_answer_is_ignored(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "8"}
    feed(connection, wire.begin(flags=0) + wire.params(1, post) + wire.record(wire.STDIN, 1, b"four"))
    connection.send_stdout(1, b"early")
    connection.end_request(1)
    assert feed(connection, wire.record(wire.STDIN, 1, b"more")) == []
    assert connection.input_pending
    assert feed(connection, wire.record(wire.STDIN, 1)) == []
    assert not connection.input_pending
    assert wire.answer(connection.data_to_send()).stdout == b"early"


def test_line_39_early_answer_drains_all_input_without_a_reset(server):
    """A client that writes all before it reads (Caddy, mod_fcgid) gets its 413 and no ECONNRESET."""
    with server.connect() as sock:
        sock.sendall(wire.begin(flags=0) + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "99999999999"}))
        for _ in range(50):
            sock.sendall(wire.record(wire.STDIN, 1, bytes(65535)))
        sock.sendall(wire.record(wire.STDIN, 1))
        assert wire.answer(read_to_end(sock)).status == 413


def resident(server):
    """KiB of memory that the server has."""
    with open(f"/proc/{server.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_line_41_slow_reader_costs_one_bounded_buffer_and_others_go_on(start, tmp_path):
    server = start("native", "--limit", "output_buffer=100000")
    closed = tmp_path / "closed"
    with server.connect() as slow:
        slow.sendall(wire.request(PATH_INFO="/many", QUERY_STRING=f"4000,50000,{closed}"))
        assert slow.recv(1000)
        for _ in range(20):
            assert server.ask(PATH_INFO="/hello").body == b"hello"
        assert resident(server) < 100_000, "KiB with 200 MB to send"
        assert not closed.exists()
    server.wait_for(lambda: closed.exists() and closed.read_text(), "close() of the body")
    assert closed.read_text() == "closed\n"


# Through a socket


@pytest.mark.parametrize("parameters", [{}, {"CONTENT_LENGTH": ""}, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "0"}])
def test_line_35_request_without_body_does_not_wait_for_the_end_of_stdin(server, parameters):
    """HAProxy 2.6 may send none; one that comes late is no news."""
    whole = {"REQUEST_METHOD": "GET", "PATH_INFO": "/hello"} | parameters
    with server.connect() as sock:
        for _ in range(2):
            sock.sendall(wire.begin() + wire.params(1, whole))
            assert read_answer(sock).body == b"hello"
            sock.sendall(wire.stdin())


def test_line_37_application_sees_that_stdin_was_short_and_not_what_was_too_long(server):
    for body, seen in ((b"four", b"6 4"), (b"six by", b"6 6"), (b"eight by", b"6 6")):
        with server.connect() as sock:
            sock.sendall(wire.request(1, body, CONTENT_LENGTH="6", PATH_INFO="/length"))
            assert read_answer(sock).body == seen
            sock.sendall(wire.request(1, PATH_INFO="/hello"))
            assert read_answer(sock).body == b"hello"


def test_line_38_body_of_undeclared_length_arrives_whole(server):
    """Apache sends a chunked body without CONTENT_LENGTH, Caddy with "-1"."""
    for length in ({}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "-1"}):
        with server.connect() as sock:
            post = {"REQUEST_METHOD": "POST", "PATH_INFO": "/echo"} | length
            sock.sendall(wire.begin() + wire.params(1, post) + wire.stdin(1, b"chunked upload", chunk=3))
            assert read_answer(sock).body == b"chunked upload"


@pytest.mark.parametrize("path", ["/hello", "/boom", "/early"])
def test_line_39_application_that_does_not_read_its_body_answers_without_a_reset(server, path):
    """The client writes all of it before it reads anything (Caddy, mod_fcgid)."""
    with server.connect() as sock:
        sock.sendall(wire.request(1, bytes(3_000_000), flags=0, PATH_INFO=path))
        assert wire.answer(read_to_end(sock)).status == (200 if path == "/hello" else 500)


def test_line_40_100_megabytes_there_and_back_for_a_client_that_writes_all_before_it_reads(start):
    """As Caddy and mod_fcgid do; tests/live shows the same through both."""
    server = start("native", "--limit", f"body={101 << 20}")
    block = os.urandom(1 << 20)
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(100 << 20), "PATH_INFO": "/echo"}
    with server.connect(timeout=60) as sock:
        sock.sendall(wire.begin(flags=0) + wire.params(1, post))
        for _ in range(100):
            sock.sendall(wire.stdin(1, block)[:-8])
        sock.sendall(wire.stdin(1))
        answer = wire.answer(read_to_end(sock))
    assert answer.app_status == 0
    assert len(answer.body) == 100 << 20
    assert answer.body == block * 100


def test_line_41_large_bodies_wait_in_files_and_not_in_memory(start):
    server = start("native", "--limit", "body_memory=65536")
    server.settle()
    before = resident(server)
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(50_000_000), "PATH_INFO": "/echo"}
    crowd = [server.connect() for _ in range(4)]
    for sock in crowd:
        sock.sendall(wire.begin() + wire.params(1, post))
        for _ in range(300):
            sock.sendall(wire.record(wire.STDIN, 1, bytes(65535)))
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    assert resident(server) - before < 20_000, "KiB more, with 80 MB of unfinished bodies"
    for sock in crowd:
        sock.close()


def test_line_41_reader_and_writer_of_much_on_one_connection_do_not_wait_for_each_other(server):
    """Uploads go on while large answers are sent on the same connection."""
    body = os.urandom(400_000)
    with server.connect() as sock:
        sender = threading.Thread(
            target=lambda: [sock.sendall(wire.request(number, body, PATH_INFO="/echo")) for number in range(1, 21)]
        )
        sender.start()
        data = bytearray()
        while data.count(wire.record(wire.END, 20, bytes(8))) == 0:
            data += sock.recv(1 << 20)
        sender.join()
    found = wire.records(bytes(data))
    for number in range(1, 21):
        assert wire.answer(found, number).body == body
