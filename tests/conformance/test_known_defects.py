"""Defects that other FastCGI programs had: each test asks ours the question that the other one failed.

The name says whose defect it was. What is a line of the checklist as well is tested there too, under its number.
"""

from __future__ import annotations

import os
import re
import resource
import socket

import pytest
import wire
from conversation import feed, received, values
from fcgi_server import children, is_closed, read_answer, read_records, read_to_end
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastcore.errors import ProtocolError
from fastcore.limits import Limits

POST = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}


# libfcgi


@pytest.mark.parametrize(
    "lengths", [b"\xff" * 8, b"\xff\xff\xff\xff\x00", b"\x00\xff\xff\xff\xff", b"\xff\xff\xff\xfe" * 2]
)
def test_defect_cve_2025_23016_lengths_whose_sum_overflows(server, connection, lengths):
    """Name and value of 0x7fffffff bytes each: their sum was a small number."""
    data = wire.begin() + wire.record(wire.PARAMS, 1, lengths + b"x" * 200) + wire.record(wire.PARAMS, 1)
    with pytest.raises(ProtocolError):
        feed(connection, data)
    with server.connect() as sock:
        sock.sendall(data + wire.stdin())
        assert is_closed(sock)
    assert server.ask(PATH_INFO="/hello").body == b"hello"


def test_defect_cve_2025_23016_params_without_end_are_refused(server):
    with server.connect() as sock:
        sock.sendall(wire.begin() + wire.record(wire.PARAMS, 1, b"\x00" * 65535) * 10 + wire.record(wire.PARAMS, 1))
        sock.sendall(wire.stdin())
        assert read_answer(sock).status == 431


def test_defect_libfcgi_get_values_asks_one_name_a_thousand_times(server):
    """The reply was written into a buffer of fixed size."""
    with server.connect() as sock:
        for name in (b"FCGI_MAX_CONNS", b"FCGI_MPXS_CONNS"):
            sock.sendall(wire.record(wire.GET_VALUES, 0, wire.pair(name, b"") * 1000))
            (record,) = read_records(sock, 1)
            assert [found for found, _ in values(wire.record(*record))] == [name]


def test_defect_cve_2012_6687_request_beside_2000_idle_connections(start):
    """select() with a descriptor over 1,023 wrote past the end of its set."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip("needs a limit of 3000 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    try:
        server = start("native", "--limit", "connections=2500")
        crowd = [server.connect() for _ in range(2000)]
        for sock in (crowd[0], crowd[1500], crowd[-1]):
            sock.sendall(wire.request(PATH_INFO="/hello"))
            assert read_answer(sock).body == b"hello"
        for sock in crowd:
            sock.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("application", ["native", "wsgi"])
def test_defect_cve_2011_2766_environment_of_the_request_before(start, application):
    """Parameters of one request were still there in the next."""
    server = start(application)
    with server.connect() as sock:
        for number in range(100):
            sock.sendall(wire.request(PATH_INFO="/environ", **{f"ONLY_{number}": "x"}, HTTP_COOKIE=f"user={number}"))
            seen = read_answer(sock).body.decode()
            assert set(re.findall(r"ONLY_\d+", seen)) == {f"ONLY_{number}"}
            assert re.findall(r"user=\d+", seen) == [f"user={number}"]


# PHP-FPM and PHP

_names = st.sampled_from(["PATH_INFO", "SCRIPT_NAME", "SCRIPT_FILENAME", "REQUEST_URI", "DOCUMENT_ROOT"])
_paths = st.sampled_from(["", "/", "//", "/environ", "/a/b", "\0", "%0a", "/\n"]) | st.text("/a%.\n\0é")


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(parameters=st.lists(st.dictionaries(_names, _paths), min_size=1, max_size=8))
def test_defect_cve_2019_11043_paths_that_contradict_each_other(server, parameters):
    """A PATH_INFO that was empty where SCRIPT_NAME did not expect it moved a pointer before its buffer."""
    with server.connect() as sock:
        for number, paths in enumerate(parameters, 1):
            sock.sendall(wire.request(number, **paths))
            assert read_answer(sock, number).status in (200, 404, 500)


def test_defect_cve_2021_21703_parent_and_workers_share_no_memory_to_write(start):
    """The master acted on a scoreboard that its workers could scribble on."""
    server = start("native", "--workers", "2", "--max-requests", "1000")
    server.wait_for(lambda: len(children(server.pid)) == 2, "two workers")
    for pid in (server.pid, *children(server.pid)):
        with open(f"/proc/{pid}/maps") as maps:
            shared = [line for line in maps if line.split()[1][1] == "w" and line.split()[1][3] == "s"]
        assert shared == []


def test_defect_cve_2014_0185_mode_of_the_socket_under_any_umask(start):
    for umask in (0o000, 0o077, 0o022):
        before = os.umask(umask)
        try:
            server = start()
        finally:
            os.umask(before)
        assert os.stat(server.path).st_mode & 0o777 == 0o660


def test_defect_cve_2015_9253_worker_that_crashes_at_once_is_not_restarted_at_once(start):
    """The master forked as fast as it could; the pauses between our forks double."""
    server = start("native", "--workers", "2")
    for number, delay in enumerate(("0.1", "0.2", "0.4", "0.8", "1.6"), 1):
        with server.connect() as sock:
            sock.sendall(wire.request(PATH_INFO="/die"))
            assert is_closed(sock)
        server.wait_for(lambda: server.log.count("a new one starts") == number, "a word about it")  # noqa: B023
        assert f"a new one starts in {delay} s" in server.log


def test_defect_php_bug72185_empty_error_text_makes_no_record(server, connection):
    feed(connection, wire.request())
    connection.send_stderr(1, b"")
    connection.send_stdout(1, b"x")
    connection.end_request(1)
    assert [record.type for record in wire.records(connection.data_to_send())] == [wire.STDOUT, wire.STDOUT, wire.END]
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/hello"))
        assert [record.type for record in read_records(sock, 3)] == [wire.STDOUT, wire.STDOUT, wire.END]


def test_defect_php_bug76922_connection_after_get_values(server):
    with server.connect() as sock:
        sock.sendall(wire.record(wire.GET_VALUES, 0, wire.pair(b"FCGI_MPXS_CONNS", b"")))
        read_records(sock, 1)
        sock.sendall(wire.request(flags=0, PATH_INFO="/hello"))
        assert wire.answer(read_to_end(sock)).body == b"hello"


@pytest.mark.parametrize("parameters", [{}, {"REQUEST_METHOD": "GET"}, {"": ""}])
def test_defect_php_gh_15395_request_with_almost_no_parameters(start, parameters):
    for application in ("native", "wsgi"):
        server = start(application)
        with server.connect() as sock:
            sock.sendall(wire.begin(flags=0) + wire.params(1, parameters) + wire.stdin())
            assert wire.answer(read_to_end(sock)).status in (200, 404)


# Front ends: what arrives as a header


@pytest.mark.parametrize("application", ["native", "wsgi"])
def test_defect_cve_2016_5385_proxy_header_does_not_become_http_proxy(start, application):
    server = start(application)
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/environ", HTTP_PROXY="http://evil.example", HTTP_PROXY_USER="kept"))
        seen = read_answer(sock).body.decode()
    assert "evil.example" not in seen
    if application == "native":
        assert "HTTP_PROXY_USER" in seen


def test_defect_header_aliases_the_last_of_two_is_taken_and_both_can_be_seen(connection):
    """`X-User` and `X_User` are one name in CGI: a front end that lets both pass sends it twice."""
    content = wire.pair(b"HTTP_X_USER", b"from the front end") + wire.pair(b"HTTP_X_USER", b"from the client")
    (request,) = received(
        feed(connection, wire.begin() + wire.record(wire.PARAMS, 1, content) + wire.record(wire.PARAMS, 1))
    )
    assert request.get("HTTP_X_USER") == request.environ["HTTP_X_USER"] == "from the client"
    assert [value for name, value in request.params if name == b"HTTP_X_USER"] == [
        b"from the front end",
        b"from the client",
    ]


# Go's net/http/fcgi


def test_defect_cve_2020_24553_no_content_type_is_invented(server):
    """HTML that was given without a type was called text/html."""
    answer = server.ask(PATH_INFO="/status", QUERY_STRING="200")
    assert b"content-type" not in answer.head.lower()
    assert b"Content-Type: text/plain" in server.ask(PATH_INFO="/bytes").head  # its body is <b>bare bytes</b>


@pytest.mark.parametrize("content", [b"\x05", b"\x05\x05", b"\x80\x00\x00", b"\x01\x80\x00\x01\x00a"])
def test_defect_go_11824_lengths_beyond_the_end_of_params(connection, content):
    with pytest.raises(ProtocolError):
        feed(connection, wire.begin() + wire.record(wire.PARAMS, 1, content) + wire.record(wire.PARAMS, 1))


def test_defect_go_42840_id_is_not_free_for_its_old_stdin_after_an_early_answer(server):
    """What is left of a request's STDIN was an error, or the next request's, once it had been answered."""
    with server.connect() as sock:
        sock.sendall(wire.begin() + wire.params(1, POST | {"CONTENT_LENGTH": "99999999999"}))
        assert read_answer(sock).status == 413
        sock.sendall(wire.stdin(1, b"late " * 1000))
        sock.sendall(wire.request(1, b"mine", PATH_INFO="/echo"))
        assert read_answer(sock).body == b"mine"


def test_defect_go_6934_abort_in_the_midst_of_a_body_lets_it_go(start):
    """The handler's reader waited for ever. Ours has its temporary file closed."""
    server = start("native", "--limit", "body_memory=1000")
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/hello"))
        read_answer(sock)
        before = server.descriptors()
        for _ in range(20):
            sock.sendall(wire.begin() + wire.params(1, POST | {"CONTENT_LENGTH": "60000"}))
            sock.sendall(wire.record(wire.STDIN, 1, bytes(50_000)) + wire.record(wire.ABORT, 1))
            assert read_answer(sock).app_status == 1
        assert server.descriptors() == before


def test_defect_go_params_without_a_limit(connection, twin):
    """Malformed ones were cut off silently, and good ones kept without end."""
    limited = twin.connection.Connection(Limits(params_bytes=10_000))
    told = feed(limited, wire.begin() + wire.record(wire.PARAMS, 1, b"\x00" * 10_001))
    assert [event.status for event in told] == [431]
    feed(connection, wire.begin() + wire.params(1, {"A": "b"})[:-8] + wire.record(wire.PARAMS, 1, b"\x09\x09cut"))
    with pytest.raises(ProtocolError):
        feed(connection, wire.record(wire.PARAMS, 1))


# HHVM


def test_defect_hhvm_2240_abort_at_any_time(server):
    with server.connect() as sock:
        records = (wire.begin(), wire.params(1, POST), wire.record(wire.STDIN, 1, b"four"), wire.record(wire.STDIN, 1))
        for count in range(len(records) + 1):
            sent = b"".join(records[:count]) + wire.record(wire.ABORT, 1)
            sock.sendall(sent + wire.request(2, PATH_INFO="/hello"))
            assert read_answer(sock, 2).body == b"hello"


def test_defect_hhvm_1690_kept_connection_leaks_nothing(start):
    server = start()
    server.settle()
    with server.connect() as sock:

        def ask(count):
            for _ in range(count):
                sock.sendall(wire.request(1, bytes(5000), PATH_INFO="/echo") + wire.request(2, PATH_INFO="/boom"))
                read_answer(sock, 2)

        ask(300)
        descriptors, memory = server.descriptors(), resident(server)
        ask(1500)
        assert server.descriptors() == descriptors
        assert resident(server) - memory < 2000, "KiB more after 3,000 requests"


def test_defect_hhvm_2522_second_request_of_a_server_that_claims_to_multiplex(server):
    with server.connect() as sock:
        sock.sendall(wire.record(wire.GET_VALUES, 0, wire.pair(b"FCGI_MPXS_CONNS", b"")))
        (record,) = read_records(sock, 1)
        assert values(wire.record(*record)) == [(b"FCGI_MPXS_CONNS", b"1")]
        sock.sendall(wire.begin(1) + wire.begin(2) + wire.params(2, POST) + wire.params(1, POST))
        sock.sendall(wire.stdin(2, b"two!") + wire.stdin(1, b"one!"))
        found = read_records(sock, 6)
    assert (wire.answer(found, 1).body, wire.answer(found, 2).body) == (b"one!", b"two!")


# uWSGI, HAProxy, HyperFastCgi, cppcms


@pytest.mark.parametrize("path", ["/hello", "/boom", "/errors"])
def test_defect_uwsgi_2336_unread_body_is_not_the_next_request(server, path):
    """The body looks like a request; the application does not read it."""
    forged = wire.request(1, PATH_INFO="/die")
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(wire.request(1, forged * 20, PATH_INFO=path) + wire.request(2, PATH_INFO="/hello"))
            assert read_answer(sock, 2).body == b"hello"


def test_defect_haproxy_0aeae2305_forged_records_in_a_record_of_65535_and_255_bytes(server):
    """Content and padding together were counted in 16 bits: the rest was read as records."""
    forged = (wire.request(9, PATH_INFO="/die") * 900)[:65535]
    data = wire.begin() + wire.params(1, POST | {"CONTENT_LENGTH": str(65535)})
    data += wire.record(wire.STDIN, 1, forged, padding=255) + wire.record(wire.STDIN, 1, padding=255)
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(data)
            assert read_answer(sock).body == forged


def test_defect_keep_alive_desync_10000_requests_in_writes_of_any_size(server):
    """HyperFastCgi #55, cppcms #24: an answer was given to another request than its own."""
    size = 1
    with server.connect() as sock:
        for batch in range(0, 10_000, 50):
            ids = range(batch + 1, batch + 51)
            data = b"".join(wire.request(number, PATH_INFO=f"/{number}") for number in ids)
            while data:
                sock.sendall(data[:size])
                data = data[size:]
                size = size * 7 % 3001 + 1
            found = read_records(sock, 3 * len(ids))
            assert [wire.answer(found, number).body for number in ids] == [b"/%d" % number for number in ids]


# gevent-fastcgi


def test_defect_gevent_fastcgi_unknown_names_of_get_values_are_left_out(server):
    with server.connect() as sock:
        sock.sendall(wire.record(wire.GET_VALUES, 0, wire.pairs({"NONSENSE": "", "FCGI_MAX_REQS": "", "": ""})))
        (record,) = read_records(sock, 1)
    assert [name for name, _ in values(wire.record(*record))] == [b"FCGI_MAX_REQS"]


def test_defect_gevent_fastcgi_16_connections_that_were_closed_by_the_client_are_closed_here(start, listen):
    server = start(listener=listen(socket.AF_INET))
    server.settle()
    before = server.descriptors()
    large = wire.request(PATH_INFO="/many", QUERY_STRING="9,9999999")
    for sent in (b"", wire.begin(), wire.request(PATH_INFO="/hello"), large):
        for _ in range(10):
            with server.connect() as sock:
                sock.sendall(sent)
    server.wait_for(lambda: server.descriptors() == before, "the end of all connections (CLOSE_WAIT)")


def test_defect_gevent_fastcgi_14_flood_of_errors_is_cut(start):
    server = start("native", "--limit", "stderr_bytes=10000")
    answer = server.ask(PATH_INFO="/complain", QUERY_STRING="100000")
    assert (answer.status, len(answer.stderr)) == (200, 10_000)


def test_defect_gevent_fastcgi_10_parent_ends_on_a_signal_with_its_workers(start):
    server = start("native", "--workers", "3")
    server.wait_for(lambda: len(children(server.pid)) == 3, "three workers")
    workers = children(server.pid)
    server.process.terminate()
    assert server.process.wait(20) == 0
    assert not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in workers)


def test_defect_gevent_fastcgi_11_iterator_is_sent_as_it_is_made(server, tmp_path):
    gate = tmp_path / "gate"
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/events", QUERY_STRING=str(gate)))
        data = b""
        while b"data: first" not in data:
            data += sock.recv(65536)
        gate.touch()  # only now is the second made
        while wire.record(wire.END, 1, bytes(8)) not in data:
            data += sock.recv(65536)
    assert b"data: second" in data


def resident(server):
    """KiB of memory that the server has."""
    with open(f"/proc/{server.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
