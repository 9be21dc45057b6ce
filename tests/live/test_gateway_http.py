"""The development gateway over HTTP: it answers as lighttpd does for the same site, and survives what back ends do."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path

import pytest
from frontend_site import Answer, FrontEndSite
from gateway_site import GatewaySite
from scripted_fcgi import HEAD, Peer, end, serving, stderr, stdout

from framework.frontends.gateway import Trouble

SITE = """
[site]
name = "example"
max_request_size = 1048576

[[host]]
name = "console.localhost"
aliases = ["localhost"]
default = true
home = "/one/"
static = "static"
backends = ["one", "deep", "down"]

[[host]]
name = "wall.localhost"
static = "static"
backends = { two = "/" }

[backend.one]
application = "a:b"
user = "one"

[backend.two]
application = "a:b"
user = "two"

[backend.deep]
application = "a:b"
user = "deep"
prefix = "/one/deep"

[backend.down]
application = "a:b"
user = "down"
"""


def write_site(folder: Path) -> Path:
    static = folder / "static"
    (static / "folder").mkdir(parents=True)
    (static / "folder" / "index.html").write_text("<p>index</p>")
    (static / "page.css").write_text("p { color: red }")
    (static / "big.bin").write_bytes(bytes(range(256)) * 4096)
    (static / ".hidden").write_text("hidden")
    (folder / "outside.txt").write_text("outside")
    (static / "link.txt").symlink_to("../outside.txt")
    for path in (static, *static.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "site.toml").write_text(SITE)
    return folder / "site.toml"


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewaySite]:
    with GatewaySite(write_site) as site:
        yield site


@pytest.fixture(scope="module")
def lighttpd() -> Iterator[FrontEndSite]:
    if shutil.which("lighttpd", path="/usr/sbin:/usr/local/sbin") is None:
        pytest.skip("lighttpd is not installed (Debian: lighttpd)")
    with FrontEndSite(write_site) as site:
        yield site


# --- as lighttpd does

ACCIDENTAL = {"REMOTE_PORT", "SERVER_PORT", "SERVER_SOFTWARE", "HTTP_CONNECTION", "HTTP_CONTENT_LENGTH", "REDIRECT_URI"}
"""Parameters that differ from start to start, or that say nothing which the others do not say."""


def told(answer: Answer, site: GatewaySite | FrontEndSite) -> object:
    """What the responder got, without what differs for good reason."""
    if answer.status != 200:
        return answer.status
    pairs = {name: value for name, value in answer.params.items() if name not in ACCIDENTAL}
    own = (str(site.folder), f":{site.port}")
    return answer.told["backend"], answer.told["body"], {name: _plain(value, own) for name, value in pairs.items()}


def _plain(value: str, own: tuple[str, str]) -> str:
    return value.replace(own[0], "FOLDER").replace(own[1], "")


SAME = [
    ("console.localhost", "/one", (), "GET", b""),
    ("console.localhost", "/one/", (), "GET", b""),
    (
        "Console.LocalHost:99",
        "/one/a%20b/c%3Fd?x=1%202&y=%C3%A9",
        ("Accept: */*", "X-Token: a", "X-Token: b"),
        "GET",
        b"",
    ),
    ("localhost", "/one/deep/x", (), "GET", b""),
    ("localhost", "/one/deeper", (), "GET", b""),
    ("localhost", "/onex", (), "GET", b""),
    ("localhost", "/nothing", (), "GET", b""),
    ("localhost", "/down/x", (), "GET", b""),
    ("unknown.example", "/one/x", (), "GET", b""),
    ("wall.localhost", "/", (), "GET", b""),
    ("wall.localhost", "/any/thing", ("Cookie: a=1", "Cookie: b=2"), "GET", b""),
    ("wall.localhost", "/static", (), "GET", b""),
    ("localhost", "/one/../one/./x//y", (), "GET", b""),
    ("localhost", "/%6fne/%2e%2e/one/%2fz", (), "GET", b""),
    ("localhost", "/one/%C3%A9%2B+", (), "GET", b""),
    ("localhost", "/one/form", ("Content-Type: text/plain",), "POST", b"hello"),
    ("localhost", "/one/x", ("Content-Type: text/plain",), "PUT", b"\xff" * 70_000),
    ("localhost", "/one/x", (), "DELETE", b""),
    ("localhost", "/one/x", ("Proxy: http://evil.example",), "GET", b""),
    ("localhost", "/one/x", ("X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"), "GET", b""),
]


@pytest.mark.parametrize(("host", "path", "headers", "method", "body"), SAME)
def test_back_ends_are_told_what_lighttpd_tells_them(
    gateway: GatewaySite,
    lighttpd: FrontEndSite,
    host: str,
    path: str,
    headers: tuple[str, ...],
    method: str,
    body: bytes,
) -> None:
    ours = gateway.get(host, path, *headers, method=method, body=body)
    theirs = lighttpd.get(host, path, *headers, method=method, body=body)
    expected = told(theirs, lighttpd)
    if expected == 503:
        expected = 502  # lighttpd's word for a back end that is not there
    assert told(ours, gateway) == expected


STATIC = [
    "/static/page.css",
    "/static/big.bin",
    "/static/folder/",
    "/static/folder",
    "/static/none.css",
    "/static/",
    "/static/.hidden",
    "/static/link.txt",
    "/static/../outside.txt",
    "/static/%2e%2e/outside.txt",
    "/static/..%2foutside.txt",
    "/static/page.css/more",
    "/",
]
COMPARED = ("Content-Type", "Cache-Control", "Location", "Content-Security-Policy", "X-Content-Type-Options")


@pytest.mark.parametrize("path", STATIC)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_static_files_are_served_as_lighttpd_serves_them(
    gateway: GatewaySite, lighttpd: FrontEndSite, path: str, method: str
) -> None:
    ours, theirs = gateway.get("localhost", path, method=method), lighttpd.get("localhost", path, method=method)
    if theirs.status in (403, 404):
        assert ours.status in (403, 404)
        return
    assert ours.status == theirs.status
    if ours.status < 400:
        for name in COMPARED:
            assert _local(ours.headers[name], gateway) == _local(theirs.headers[name], lighttpd), name
    if ours.status == 200:
        assert ours.body == theirs.body
        assert ours.headers["Content-Length"] == theirs.headers["Content-Length"]


def _local(value: str | None, site: GatewaySite | FrontEndSite) -> str | None:
    return value and value.removeprefix("http://localhost").removeprefix(f":{site.port}")


# --- on its own


def test_what_could_pass_for_another_header_is_left_out(gateway: GatewaySite) -> None:
    params = gateway.get(
        "localhost", "/one/x", "X_User: root", "X-User: me", "Proxy: x", "Connection: X-Hop", "X-Hop: 1"
    ).params
    assert params["HTTP_X_USER"] == "me"
    assert not {"HTTP_PROXY", "HTTP_X_HOP", "HTTP_CONNECTION"} & params.keys()


def test_the_addresses_are_those_of_the_connection(gateway: GatewaySite) -> None:
    params = gateway.get("localhost", "/one/x", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4").params
    assert (params["REMOTE_ADDR"], params["SERVER_ADDR"], params["REQUEST_SCHEME"]) == (
        "127.0.0.1",
        "127.0.0.1",
        "http",
    )


def test_a_whole_url_as_target_names_the_host(gateway: GatewaySite) -> None:
    answer = gateway.get("localhost", "http://wall.localhost/x?y")
    assert (answer.told["backend"], answer.params["REQUEST_URI"]) == ("two", "/x?y")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /one/x HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /one/x HTTP/1.1\r\nHost: localhost/../x\r\n\r\n",
        b"GET /one/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /one/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /one/%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET one HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /one/x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /one/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused(gateway: GatewaySite, request_head: bytes) -> None:
    assert gateway.send(request_head).status == 400


def test_a_chunked_body_arrives_with_its_length(gateway: GatewaySite) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [b"hello ", b"w" * 300_000]) + b"0\r\n\r\n"
    head = b"POST /one/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = gateway.send(head + chunks, "POST")
    assert answer.params["CONTENT_LENGTH"] == "300006"
    assert answer.told["body"] == "hello " + "w" * 300_000
    assert "HTTP_TRANSFER_ENCODING" not in answer.params


@pytest.mark.parametrize("size", [1048576, 1048577])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_end_at_the_limit_of_the_site(gateway: GatewaySite, size: int, chunked: bool) -> None:
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"POST /one/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}\r\n\r\n".encode()
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size) if chunked else b"x" * size
    with gateway.connect() as connection:
        sender = threading.Thread(target=_send_all, args=(connection, head + body))
        sender.start()
        response = HTTPResponse(connection)
        response.begin()
        assert response.status == (200 if size == 1048576 else 413)
        response.read()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        sender.join(20)


def _send_all(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


def test_an_answer_streams_as_the_back_end_sends_it(gateway: GatewaySite) -> None:
    gateway.echo.release.clear()
    with gateway.connect() as connection:
        connection.sendall(b"GET /one/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        response = HTTPResponse(connection)
        response.begin()
        assert response.readline() == b"first\n"
        gateway.echo.release.set()
        assert response.read() == b"second\n"


def test_unchanged_static_files_are_not_sent_again(gateway: GatewaySite) -> None:
    first = gateway.get("localhost", "/static/page.css")
    for header in (f"If-None-Match: {first.headers['ETag']}", f"If-Modified-Since: {first.headers['Last-Modified']}"):
        again = gateway.get("localhost", "/static/page.css", header)
        assert (again.status, again.body) == (304, b"")
    assert gateway.get("localhost", "/static/page.css", 'If-None-Match: "other"').status == 200
    assert gateway.get("localhost", "/static/page.css", "If-Modified-Since: nonsense").status == 200


def test_static_files_can_only_be_read(gateway: GatewaySite) -> None:
    answer = gateway.get("localhost", "/static/page.css", method="POST", body=b"x")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_error_pages_are_whole_and_load_nothing(gateway: GatewaySite) -> None:
    answer = gateway.get("localhost", "/down/x")
    assert answer.status == 502
    assert "The back end “down” cannot be reached" in answer.body.decode()
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert str(gateway.folder) not in answer.body.decode()


def test_the_trouble_of_a_back_end_is_shown_escaped(gateway: GatewaySite) -> None:
    gateway.troubles["one"] = Trouble("It does not run: <b>", "Traceback <script>")
    try:
        answer = gateway.get("localhost", "/one/x")
    finally:
        gateway.troubles.clear()
    assert answer.status == 503
    assert b"It does not run: &lt;b&gt;" in answer.body
    assert b"Traceback &lt;script&gt;" in answer.body


# --- back ends that misbehave


def answer_of(handle: Callable[[Peer], None], *, timeout: float = 20.0, reports: list[str] | None = None) -> Answer:
    """What a browser gets when the back end “two” does this; `reports` gets what the developer is told."""
    with serving(handle) as (address, _), GatewaySite(write_site, timeout=timeout) as site:
        site.site.socket_path("two").unlink()
        site.site.socket_path("two").symlink_to(address.removeprefix("unix:"))
        try:
            return site.get("wall.localhost", "/x")
        finally:
            if reports is not None:
                reports += site.reports


def says(*answer: bytes) -> Callable[[Peer], None]:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(b"".join(answer))
        peer.record()

    return handle


def hangs_up(*answer: bytes) -> Callable[[Peer], None]:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(b"".join(answer))

    return handle


@pytest.mark.parametrize(
    ("handle", "status", "text"),
    [
        (hangs_up(), 502, "ended before its answer was complete"),
        (hangs_up(stderr(b"secret")), 502, "ended before its answer was complete"),
        (says(b"garbage!" * 9), 502, "no valid one: FastCGI version"),
        (says(stdout(b"no head at all\n\n"), end()), 502, "not a header line"),
        (says(stdout(b"Status: 101 Switching\n\n"), end()), 502, "status 101"),
        (says(stdout(b"Content-Length: two\n\n"), end()), 502, "Content-Length is not a number"),
    ],
)
def test_broken_answers_become_a_page_that_names_the_back_end(
    handle: Callable[[Peer], None], status: int, text: str
) -> None:
    answer = answer_of(handle)
    assert answer.status == status
    assert "The back end “two”" in answer.body.decode()
    assert text in answer.body.decode()
    assert b"secret" not in answer.body


def test_silence_becomes_a_gateway_timeout() -> None:
    answer = answer_of(says(), timeout=0.3)
    assert answer.status == 504
    assert "The back end “two” did not answer in time" in answer.body.decode()


TWO_BYTES = b"Content-Type: text/plain\nContent-Length: 2\n\n"


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        (hangs_up(stdout(HEAD + b"half")), "closed the connection before the end"),
        (says(stdout(HEAD + b"half"), end(app_status=1)), "appStatus 1"),
        (says(stdout(TWO_BYTES + b"x"), end()), "shorter than its Content-Length"),
        (says(stdout(TWO_BYTES + b"xyz"), end()), "longer than its Content-Length"),
    ],
)
def test_an_answer_that_fails_after_its_head_never_looks_complete(handle: Callable[[Peer], None], reason: str) -> None:
    reports: list[str] = []
    with pytest.raises((IncompleteRead, ConnectionError)):
        answer_of(handle, reports=reports)
    assert len(reports) == 1
    assert reports[0].startswith("GET /x: the answer of two was cut: ")
    assert reason in reports[0]


def test_a_head_answer_has_the_length_of_a_body_that_is_not_there() -> None:
    with serving(says(stdout(TWO_BYTES), end())) as (address, _), GatewaySite(write_site) as site:
        site.site.socket_path("two").unlink()
        site.site.socket_path("two").symlink_to(address.removeprefix("unix:"))
        answer = site.get("wall.localhost", "/x", method="HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "2", b"")
    assert site.reports == []


def test_headers_of_the_back_end_pass_but_not_those_of_its_connection() -> None:
    head = b"Set-Cookie: a=1\nSet-Cookie: b=2\nX-Frame-Options: ALLOW\nConnection: x\nKeep-Alive: y\nX-Own: z\n\n"
    answer = answer_of(says(stdout(b"Status: 418 Teapot\n" + head + b"body"), end()))
    assert (answer.status, answer.body) == (418, b"body")
    assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers["X-Own"] == "z"
    assert answer.headers.get_all("X-Frame-Options") == ["DENY"]
    assert answer.headers["Keep-Alive"] is None


def test_a_browser_that_leaves_ends_the_request_at_the_back_end() -> None:
    gone = threading.Event()

    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(stdout(HEAD + b"event\n"))
        if peer.record() is None:
            gone.set()

    with serving(handle) as (address, _), GatewaySite(write_site) as site:
        site.site.socket_path("two").unlink()
        site.site.socket_path("two").symlink_to(address.removeprefix("unix:"))
        with site.connect() as connection:
            connection.sendall(b"GET /x HTTP/1.1\r\nHost: wall.localhost\r\n\r\n")
            received = b""
            while b"event" not in received:  # head and event may come together
                piece = connection.recv(65536)
                assert piece
                received += piece
        assert gone.wait(20)
