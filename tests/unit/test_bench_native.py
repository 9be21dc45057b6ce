"""The benchmark's own tools: the floor answers rightly, the load generator counts only what is right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
    for name in ("floor", "loadgen"):
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


@pytest.fixture
def bench_run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("run", "peers", "servers", "toolchain"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run  # type: ignore[import-not-found]

    return run


def row(name: str, kept: float | None, each: float) -> dict[str, Any]:
    def summary(rate: float | None) -> dict[str, Any] | None:
        if rate is None:
            return None
        return {"requests_per_second": rate, "spread": 0.02, "cpu_us": 5.0, "p99_us": 90.0, "of_floor": rate / 1000}

    return {"name": name, "label": name, "version": "", "note": "", "kept": summary(kept), "each": summary(each)}


def test_the_table_goes_between_its_markers_and_nowhere_else(bench_run: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- hello:begin -->\nold\n<!-- hello:end -->\nafter\n")
    machine = {"processor": "P", "processors": 2, "kernel": "6", "python": "3.11", "load": "0.1"}
    settings = {"connections": 8, "seconds": 1.5, "rounds": 5}
    rows = [row("floor", 1000.0, 500.0), row("other", None, 250.0)]
    result = {"machine": machine, "settings": settings, "rows": rows, "missing": {"third": "not there"}}
    for _ in range(2):
        bench_run.write_table(page, "hello", bench_run.render(result))
    text = page.read_text()
    assert text.startswith("before\n<!-- hello:begin -->\n\n| server |")
    assert text.endswith("<!-- hello:end -->\nafter\n")
    assert "old" not in text
    assert text.count("| floor | 1,000 ± 2 % | 1.000 |") == 1
    assert "| other | – | – | – | – | 250" in text
    assert "left out: third (not there)" in text


def test_every_peer_is_told_apart_and_the_floor_comes_first(bench_run: Any) -> None:
    names = [peer.name for peer in bench_run.PEERS]
    assert names[0] == "floor"
    assert len(set(names)) == len(names)


def test_the_page_of_the_docs_has_the_markers() -> None:
    text = (BENCH.parent / "docs" / "benchmarks.md").read_text()
    assert text.count("<!-- hello:begin -->") == text.count("<!-- hello:end -->") == 1
