"""fastcore behind real front ends, the same table of HTTP cases through each; docs/front-ends.md tells what they do."""

from __future__ import annotations

import ast
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from types import SimpleNamespace

import pytest
from front_ends import AUTHORIZERS, CONFIGURATIONS, FRONT_ENDS, Site
from http_talk import Talk, ask

from fastcore import implementation

TWIN = "compiled" if implementation.accelerated else "pure"
SHORT = ("nginx-kept", "lighttpd", "haproxy-multiplexed")  # also on the pure twin, for the cases marked so


def every(*, pure=False, wsgi=False, site="site", **capabilities):
    """The table's rows: each front end that can do it, on this run's twin; some also on the pure one, or as WSGI."""
    names = [
        name
        for name, front_end in FRONT_ENDS.items()
        if all(getattr(front_end, key) == value for key, value in capabilities.items())
    ]
    rows = [pytest.param((name, TWIN), id=name) for name in names]
    if pure and TWIN != "pure":
        rows += [pytest.param((name, "pure"), id=f"{name}-pure") for name in names if name in SHORT]
    if wsgi:
        rows += [pytest.param((name, TWIN, "wsgi"), id=f"{name}-wsgi") for name in names]
    return pytest.mark.parametrize(site, rows, indirect=True)


@contextmanager
def running(name, twin, interface="native", **options):
    front_end = FRONT_ENDS[name]
    if not shutil.which(front_end.program, path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip(f"needs {front_end.program} (scripts/debian-packages.sh)")
    switches = {"pure": "FASTCORE_PURE", "compiled": "FASTCORE_REQUIRE_COMPILED"}
    environment = {key: value for key, value in os.environ.items() if key not in switches.values()}
    with Site(front_end, environment | {switches[twin]: "1"}, twin, interface, **options) as site:
        yield site


@pytest.fixture(scope="module")
def site(request):
    with running(*request.param) as site:
        yield site


@pytest.fixture
def fresh(request):
    """A site of this test's own: no connection of the front end carries what an earlier test left unfinished."""
    with running(*request.param) as site:
        yield site


@pytest.fixture
def gate(site):
    """The path of a file that the application may look for or write."""
    path = site.shared / "gate"
    yield path
    path.unlink(missing_ok=True)


def environ(site, method, target, *headers, body=b""):
    answer = ask(site.port, method, target, *headers, body=body)
    assert answer.status == 200, site.log
    return dict(ast.literal_eval(answer.body.decode()))


def wait_for(site, condition, what, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited for {what}:\n{site.log}"
        time.sleep(0.01)


# Requests


@every(pure=True, wsgi=True)
def test_path_query_and_method_arrive(site):
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        told = environ(site, method, "/environ?a=1&b=%2F", body=b"x" if method in ("POST", "PUT", "PATCH") else b"")
        assert told["REQUEST_METHOD"] == method
        assert told["QUERY_STRING"] == "a=1&b=%2F"
        assert (told.get("SCRIPT_NAME", ""), told["PATH_INFO"]) == ("", "/environ")
        assert told["REQUEST_URI"] == "/environ?a=1&b=%2F"


@every()
def test_path_arrives_decoded(site):
    assert ask(site.port, "GET", "/a/%C3%A9%20b/c").body == "/a/é b/c".encode()
    assert ask(site.port, "GET", "/").body == b"/"


@every(pure=True, wsgi=True)
def test_headers_arrive_and_proxy_does_not(site):
    told = environ(site, "GET", "/environ", "X-One: 1", "Proxy: http://evil.example", "Cookie: a=b; c=d")
    assert told["HTTP_X_ONE"] == "1"
    assert told["HTTP_COOKIE"] == "a=b; c=d"
    assert "HTTP_PROXY" not in told


@every(pure=True)
def test_34_long_header_arrives_whole(site):
    value = "x" * site.front_end.header
    assert environ(site, "GET", "/environ", f"X-Long: {value}")["HTTP_X_LONG"] == value


@every(wsgi=True)
def test_headers_of_the_answer_arrive(site):
    answer = ask(site.port, "GET", "/cookies")
    assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers["Content-Type"] == "text/plain"


@every(pure=True, wsgi=True)
def test_requests_on_a_kept_connection(site):
    with Talk(site.port) as talk:
        for number in range(20):
            body = b"body %d" % number
            assert talk.ask("POST", "/echo", f"Content-Length: {len(body)}", body=body).body == body


# Bodies


@every(pure=True, wsgi=True)
@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_body_is_echoed(site, size):
    body = os.urandom(size)
    assert ask(site.port, "POST", "/echo", body=body).body == body


@every(pure=True)
def test_20_mb_up_and_back(site):
    body = os.urandom(20_000_000)
    answer = ask(site.port, "POST", "/echo", body=body)
    assert (answer.status, len(answer.body)) == (200, len(body))
    assert answer.body == body


@every()
def test_20_mb_down(site):
    answer = ask(site.port, "GET", "/big?20000000")
    assert answer.whole
    assert answer.body == bytes(20_000_000)


@every(wsgi=True)
@pytest.mark.parametrize("size", [10, 60, 100, 20_000])
def test_body_without_a_length_arrives(site, size):
    """So many kB, chunked; where the front end takes no more of that kind it refuses it by itself."""
    piece = bytes(1000 if size < 1000 else 100_000)
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    length = size * 1000
    with Talk(site.port) as talk:
        pieces = [*[chunk] * (length // len(piece)), b"0\r\n\r\n"]
        answer = talk.ask("POST", "/length", "Transfer-Encoding: chunked", body=pieces)
    told = (answer.status, answer.body)
    whole = (200, b"%d %d" % (length, length))
    front_end = site.front_end
    if front_end.chunks is None or size <= front_end.chunks:
        assert told == whole
    else:  # lighttpd takes what has come whole with the head
        assert answer.status == front_end.too_long or (front_end.chunks == 0 and told == whole)
    assert ask(site.port, "GET", "/hello").body == b"hello"


@every()
def test_length_that_is_told_of_a_body_without_one(site):
    """As the page says; its end comes late, so that nobody has it whole at once."""
    with Talk(site.port) as talk:
        pieces = [b"3e8\r\n%s\r\n" % bytes(1000)] * 60
        answer = talk.ask("POST", "/environ", "Transfer-Encoding: chunked", body=slowly([*pieces, b"0\r\n\r\n"]))
    if site.front_end.chunks == 0:
        assert answer.status == site.front_end.too_long
    else:
        assert dict(ast.literal_eval(answer.body.decode())).get("CONTENT_LENGTH") == site.front_end.told_length


def slowly(pieces):
    for piece in pieces:
        yield piece
        time.sleep(0.005)


@every(wsgi=True)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_request_without_a_length_and_without_a_body_is_served(site, method):
    with Talk(site.port) as talk:
        assert talk.begin(method, "/hello").read() == b"hello"


LARGE = 100_000_000


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_line_40_100_mb_up_down_and_back(name):
    """The whole body at once each way; Caddy and mod_fcgid write all of a request before they read any answer."""
    with running(name, TWIN, body_limit=LARGE) as site:
        body = os.urandom(1_000_000) * (LARGE // 1_000_000)
        length = [f"Content-Length: {LARGE}"]
        with Talk(site.port, timeout=120) as talk:
            assert talk.ask("POST", "/length", *length, body=body).body == b"%d %d" % (LARGE, LARGE)
        with Talk(site.port, timeout=120) as talk:
            answer = talk.ask("GET", f"/big?{LARGE}", "Connection: close")
            assert answer.whole
            assert answer.body == bytes(LARGE)
        with Talk(site.port, timeout=120) as talk:
            answer = talk.ask("POST", "/echo", "Connection: close", *length, body=body)
            assert (answer.status, len(answer.body)) == (200, LARGE)
            assert answer.body == body
        with Talk(site.port, timeout=120) as talk:  # answered without reading it
            answer = talk.ask("POST", "/hello", "Connection: close", *length, body=body)
            assert (answer.status, answer.body) == (200, b"hello")


@every(pure=True)
def test_early_413_reaches_a_client_that_still_sends(site):
    """Over the server's limit, refused when the head has come, while the front end still sends the body."""
    for _ in range(3):
        answer = ask(site.port, "POST", "/die", body=bytes(25_000_000))
        assert answer.status == 413
    assert ask(site.port, "GET", "/hello").body == b"hello"


# Answers


@every(wsgi=True)
def test_head_has_the_length_and_no_body(site):
    answer = ask(site.port, "HEAD", "/hello")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "5", b"")


@every(wsgi=True)
@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(site, status):
    with Talk(site.port) as talk:
        answer = talk.ask("GET", f"/status?{status}")
        assert (answer.status, answer.body) == (status, b"")
        assert talk.ask("GET", "/hello").body == b"hello"


@every(streams_down=True, pure=True, wsgi=True)
def test_51_each_event_arrives_when_it_is_made(site, gate):
    with Talk(site.port) as talk:
        response = talk.begin("GET", f"/events?{gate}")
        assert response.readline() == b"data: first\n"
        gate.touch()
        assert response.read() == b"\ndata: second\n\n"


@every(pure=True, wsgi=True)
def test_50_failure_before_the_head_is_a_500_without_inner_text(site):
    for path in ("/boom", "/early", "/nothing"):
        answer = ask(site.port, "GET", path)
        assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")


@every(pure=True, site="fresh")
def test_50_failure_after_the_head_is_seen_by_the_client_and_harms_nobody(fresh):
    for path in ("/late", "/late-big", "/late"):
        answer = broken_answer(fresh, path)
        assert b"secret" not in answer.body
        if path in fresh.front_end.tells_broken:
            assert answer.status == 502 or not answer.whole
        elif fresh.front_end.spawns:
            assert b"Internal Server Error" in answer.body  # its own page is appended
        assert ask(fresh.port, "GET", "/hello").body == b"hello"


@every(pure=True, site="fresh")
def test_50_failure_after_uploads_that_were_refused_harms_nobody(fresh):
    """HAProxy holds such an upload, on the connection it came by, long after its client has gone."""
    for _ in range(3):
        assert ask(fresh.port, "POST", "/die", body=bytes(25_000_000)).status == 413
        assert b"secret" not in broken_answer(fresh, "/late").body
        for _ in range(10):
            assert ask(fresh.port, "GET", "/hello").body == b"hello"


def broken_answer(site, path):
    """The answer, also where there is not even a head."""
    try:
        return ask(site.port, "GET", path)
    except (HTTPException, ConnectionError):
        return SimpleNamespace(status=502, body=b"", whole=False)


@every(site="fresh")
def test_49_body_shorter_than_its_length_is_no_whole_answer(fresh):
    answer = broken_answer(fresh, "/short")
    assert answer.status == 502 or not answer.whole
    assert len(answer.body) <= 4
    assert ask(fresh.port, "GET", "/hello").body == b"hello"


@every(pure=True, wsgi=True)
def test_55_client_that_leaves_in_mid_download_ends_the_answer(site, gate):
    """Where the front end does not tell, the answer is made to its end, and close() is called then."""
    count = 100_000 if site.front_end.notices_leaving else 1000
    with Talk(site.port) as talk:
        response = talk.begin("GET", f"/many?{count},100000,{gate}")
        assert len(response.read(1_000_000)) == 1_000_000
    wait_for(site, lambda: gate.exists() and gate.read_text(), "close() of the answer")
    assert gate.read_text() == "closed\n"
    assert ask(site.port, "GET", "/hello").body == b"hello"


# Many at once


@every(pure=True)
def test_200_requests_at_once_without_a_failure(site):
    barrier = threading.Barrier(200)

    def one(number):
        body = b"%d" % number * 500
        barrier.wait(60)
        answer = ask(site.port, "POST", "/echo", body=body)
        return answer.status == 200 and answer.body == body

    with ThreadPoolExecutor(200) as pool:
        results = list(pool.map(one, range(200)))
    assert results.count(True) == 200, site.log


@every(spawns=False, pure=True)
def test_60_restart_under_load_loses_nothing(site):
    """A new server on the same listener, SIGTERM to the old one: all requests are answered, a running one whole."""
    with running(site.front_end.name, site.twin) as own:
        restart_under_load(own)


def restart_under_load(site):
    old = site.back_ends[-1]
    pids = []
    refused = []
    done = threading.Event()

    def load(number):
        method = "POST" if number % 2 and site.front_end.restarts_posts else "GET"
        while not done.is_set():
            answer = ask(site.port, method, "/pid", body=b"body" if method == "POST" else b"")
            if answer.status == 503 and not site.front_end.restarts_posts:
                refused.append(number)  # docs/front-ends.md: sent in the moment in which the connection ended
                continue
            assert answer.status == 200, site.log
            pids.append(int(answer.body))

    with ThreadPoolExecutor(5) as pool:
        try:
            loads = [pool.submit(load, number) for number in range(4)]
            wait_for(site, lambda: old.pid in pids, "the old server")
            slow = pool.submit(ask, site.port, "GET", "/slow?30,0.02")
            time.sleep(0.1)
            new = site.start_back_end()
            old.terminate()
            wait_for(site, lambda: new.pid in pids, "the new server")
            assert old.wait(20) == 0
            count = len(pids)
            wait_for(site, lambda: len(pids) > count + 20, "answers of the new server alone")
        finally:
            done.set()
        assert slow.result().body == b"012345678901234567890123456789"
        for result in loads:
            result.result()
    assert set(pids) == {old.pid, new.pid}
    assert len(refused) <= 4, "one of each of four clients at most"


# The documentation


def test_every_configuration_of_the_page_is_one_that_is_tested_and_has_comments():
    assert sorted(CONFIGURATIONS) == sorted([*FRONT_ENDS, *AUTHORIZERS])
    for name, text in CONFIGURATIONS.items():
        command, *lines = text.splitlines()
        assert "app.conf" in command, name
        assert any("#" in line for line in lines), f"{name} has no comment"


@every()
def test_configuration_of_the_page_serves(site):
    """Get, post and an early error; the rest of this module goes through the same text."""
    assert ask(site.port, "GET", "/hello").body == b"hello"
    assert ask(site.port, "POST", "/echo", body=b"posted").body == b"posted"
    assert ask(site.port, "POST", "/die", body=bytes(25_000_000)).status == 413
    assert ask(site.port, "GET", "/hello").body == b"hello"
