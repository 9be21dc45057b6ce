"""The benchmark's own tools: the floor answers rightly, the load generator counts only what is right."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from scripted_fcgi import Peer, end, records, serving, stderr, stdout

from fastcore import constants as c
from fastcore.client import Client, cgi_params

BENCH = Path(__file__).resolve().parents[2] / "bench"
PAGE = b"Hello, world!\n"
RIGHT = stdout(b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n" + PAGE) + end()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled programs; warnings are errors."""
    if shutil.which("gcc") is None:
        pytest.skip("a C compiler is not installed (Debian: gcc libc6-dev)")
    folder = tmp_path_factory.mktemp("n")
    for name in ("floor", "loadgen", "floor_transfer", "transfer", "httpload"):
        flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
        subprocess.run(["gcc", *flags, "-o", folder / name, BENCH / "native" / f"{name}.c"], check=True)
    return folder


def generate(programs: Path, address: str, *options: str) -> tuple[int, dict[str, Any]]:
    result = subprocess.run([programs / "loadgen", *options, address], capture_output=True, text=True, timeout=60)
    assert not result.stderr
    return result.returncode, json.loads(result.stdout)


@pytest.fixture(params=["unix", "tcp"])
def floor(request: pytest.FixtureRequest, programs: Path, tmp_path: Path) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}" if request.param == "tcp" else f"unix:{tmp_path / 's'}"
    process = subprocess.Popen([programs / "floor", address])
    try:
        for _ in range(500):
            result = subprocess.run([programs / "loadgen", "-n", "1", address], capture_output=True)
            if result.returncode == 0:
                break
            time.sleep(0.02)
        yield address
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(20)


@pytest.mark.parametrize("options", [(), ("-k",), ("-k", "-b", "200000"), ("-b", "70000", "-c", "1")])
def test_the_floor_answers_every_request(programs: Path, floor: str, options: tuple[str, ...]) -> None:
    status, told = generate(programs, floor, "-n", "300", *options)
    assert (status, told["requests"], told["errors"], told["first_error"]) == (0, 300, 0, "")
    assert 0 < told["latency_us"]["p50"] <= told["latency_us"]["p99"] <= told["latency_us"]["max"]


def test_the_floor_speaks_to_our_client_too(floor: str) -> None:
    with Client(floor, timeout=20) as client:
        for body in (b"", b"x", b"x" * 200_000):
            assert client.request(cgi_params("POST", "/", body_length=len(body)), body).body == PAGE


def repeats(*answers: bytes) -> Callable[[Peer], None]:
    """A server that gives these answers in turn on each connection."""

    def handle(peer: Peer) -> None:
        while True:
            for answer in answers:
                if peer.request() is None:
                    return
                peer.sock.sendall(answer)

    return handle


def test_the_request_is_one_of_a_web_server(programs: Path) -> None:
    seen: list[tuple[dict[bytes, bytes], bytes]] = []

    def handle(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            seen.append(request)
            peer.sock.sendall(RIGHT)

    with serving(handle) as (address, _):
        assert generate(programs, address, "-n", "2", "-c", "1", "-k", "-b", "100000")[0] == 0
    for params, body in seen:
        assert len(params) == 26
        assert (params[b"REQUEST_METHOD"], params[b"CONTENT_LENGTH"], len(body)) == (b"POST", b"100000", 100_000)
        assert params[b"HTTP_HOST"] == b"console.example.org"


WRONG = [
    (stdout(b"Status: 500 Oops\r\nContent-Type: text/plain\r\n\r\n" + PAGE) + end(), "status is not 200"),
    (stdout(b"Content-Type: text/plain\r\n\r\nHello, World!\n") + end(), "unexpected body: Hello, World!"),
    (stdout(b"Content-Type: text/plain\r\n\r\nHello") + end(), "the body has 5 bytes instead of 14"),
    (stdout(b"Status: 200 OK\r\n\r\n" + PAGE) + end(), "no Content-Type"),
    (stdout(b"Content-Type: text/plain\r\n\r\n" + PAGE) + end(protocol_status=2), "protocolStatus 2"),
    (end(), "ended before its head"),
    (RIGHT + stdout(b"more"), "bytes after END_REQUEST"),
    (RIGHT.replace(b"\1\6\0\1", b"\1\6\0\2", 1), "for request 2"),
    (records.build_record(c.UNKNOWN_TYPE, 1, bytes(8)) + RIGHT, "a record of type 11"),
]


@pytest.mark.parametrize(("answer", "reason"), WRONG)
def test_a_wrong_answer_is_not_counted_and_fails(programs: Path, answer: bytes, reason: str) -> None:
    with serving(repeats(RIGHT, answer)) as (address, _):
        status, told = generate(programs, address, "-n", "2", "-c", "1", "-k")
    assert status == 1
    assert told["requests"] <= 1
    assert reason in told["first_error"]


def test_an_answer_in_pieces_with_padding_and_stderr_is_right(programs: Path) -> None:
    head, rest = b"Status: 200 OK\nContent-Type: te", b"xt/plain\n\nHello, "
    padded = records.build_record(c.STDOUT, 1, b"world!\n", 255)
    answer = stdout(head) + stderr(b"a line\n") + stdout(rest) + padded + end()

    def handle(peer: Peer) -> None:
        while peer.request() is not None:
            for at in range(0, len(answer), 7):
                peer.sock.sendall(answer[at : at + 7])

    with serving(handle) as (address, _):
        assert generate(programs, address, "-n", "3", "-c", "2", "-k")[0] == 0


def test_a_server_that_keeps_no_connection_is_noticed(programs: Path) -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(RIGHT)

    with serving(handle) as (address, server):
        status, told = generate(programs, address, "-n", "5", "-c", "1", "-k")
        assert (status, told["requests"], told["reconnects"], server.connections) == (0, 5, 4, 5)


def test_silence_is_given_up(programs: Path) -> None:
    with serving(lambda peer: peer.request() and peer.record() and None) as (address, _):
        status, told = generate(programs, address, "-n", "1", "-c", "1", "-T", "1")
    assert status == 1
    assert "no answer for 1 s" in told["first_error"]


def transfer(programs: Path, address: str, *options: str) -> tuple[int, dict[str, Any]]:
    result = subprocess.run([programs / "transfer", *options, address], capture_output=True, text=True, timeout=60)
    assert not result.stderr
    return result.returncode, json.loads(result.stdout)


SIZE = 3_000_007
PATTERN_HEAD = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n"


@pytest.fixture
def floor_transfer(programs: Path, tmp_path: Path) -> Iterator[str]:
    process = subprocess.Popen([programs / "floor_transfer", f"unix:{tmp_path / 's'}"])
    try:
        for _ in range(1000):
            if (tmp_path / "s").exists():
                break
            time.sleep(0.02)
        yield f"unix:{tmp_path / 's'}"
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(20)


@pytest.mark.parametrize("stride", [1, 4093])
def test_the_floor_takes_and_gives_a_large_body(programs: Path, floor_transfer: str, stride: int) -> None:
    status, told = transfer(programs, floor_transfer, "-u", str(SIZE), "-p", "/upload", "-s", str(stride))
    total = zlib.adler32((pattern() * 3)[:SIZE:stride])
    assert (status, told["bytes"], told["answer"], told["error"]) == (0, SIZE, f"{SIZE} {total}\n", "")
    status, told = transfer(programs, floor_transfer, "-d", str(SIZE), "-p", "/blocks")
    assert (status, told["bytes"], told["error"]) == (0, SIZE, "")


@cache
def pattern() -> bytes:
    state, out = 1, bytearray()
    for _ in range(17 * 65536):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    return bytes(out)


def test_the_pattern_is_sent_and_the_same_comes_back(programs: Path) -> None:
    seen: list[tuple[dict[bytes, bytes], bytes]] = []

    def handle(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            seen.append(request)
            body = b"thanks" if request[1] else (pattern() * 2)[:1_500_000]
            pieces = [stdout(body[at : at + 60_000]) for at in range(0, len(body), 60_000)]
            peer.sock.sendall(stdout(PATTERN_HEAD) + b"".join(pieces) + end())

    with serving(handle) as (address, _):
        assert transfer(programs, address, "-u", "1500000", "-p", "/upload", "-s", "7")[1]["answer"] == "thanks"
        assert transfer(programs, address, "-d", "1500000", "-p", "/blocks")[0] == 0
    (params, body), _ = seen
    assert body == (pattern() * 2)[:1_500_000]
    assert (params[b"PATH_INFO"], params[b"QUERY_STRING"]) == (b"/upload", b"size=1500000&stride=7")
    assert (params[b"REQUEST_METHOD"], params[b"CONTENT_LENGTH"]) == (b"POST", b"1500000")


CHEATS = [
    (stdout(PATTERN_HEAD) + stdout(bytes(1000)) + end(), "wrong bytes after byte 0"),
    (stdout(PATTERN_HEAD) + stdout(pattern()[:999]) + end(), "the body has 999 bytes instead of 1000"),
    (stdout(PATTERN_HEAD) + stdout(pattern()[:1001]) + end(), "longer than 1000 bytes"),
    (stdout(PATTERN_HEAD) + stdout(pattern()[:1000]) + end(app_status=1), "appStatus 1"),
    (stdout(PATTERN_HEAD) + stdout(pattern()[:1000]), "closed the connection"),
    (stdout(PATTERN_HEAD.replace(b"200", b"413")) + stdout(pattern()[:1000]) + end(), "status is not 200: Status: 413"),
]


@pytest.mark.parametrize(("answer", "reason"), CHEATS)
def test_a_body_that_is_not_the_pattern_is_refused(programs: Path, answer: bytes, reason: str) -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(answer)

    with serving(handle) as (address, _):
        status, told = transfer(programs, address, "-d", "1000")
    assert status == 1
    assert reason in told["error"]


class Page(BaseHTTPRequestHandler):
    """A page by HTTP/1.1; its class attributes say what is wrong with it."""

    protocol_version = "HTTP/1.1"
    status, page, length = 200, PAGE, len(PAGE)

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(self.length))
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@contextmanager
def http_server(**wrong: Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Wrong", (Page,), wrong))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


def load(programs: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = subprocess.run([programs / "httpload", *options], capture_output=True, text=True, timeout=60)
    assert not result.stderr
    return result.returncode, json.loads(result.stdout)


@pytest.mark.parametrize("path", ["/", "/close"])
def test_requests_by_http_are_answered_and_counted(programs: Path, path: str) -> None:
    with http_server() as address:
        status, told = load(programs, "-n", "40", "-c", "3", "-p", path, address)
    assert (status, told["answered"], told["errors"], told["first_error"]) == (0, 40, 0, "")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"status": 502}, "not the page: HTTP/1.1 502"),
        ({"page": b"Hello, World!\n"}, "not the page: HTTP/1.1 200"),
        ({"page": PAGE + b"more"}, "bytes after the answer"),
    ],
)
def test_a_wrong_page_by_http_is_not_counted_and_fails(programs: Path, wrong: dict[str, Any], reason: str) -> None:
    with http_server(**wrong) as address:
        status, told = load(programs, "-n", "1", "-c", "1", address)
    assert status == 1
    assert reason in told["first_error"]
