"""The servers of docs/sans-io.md are run as they stand there, and asked."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wire
from fcgi_server import ROOT, is_closed, read_answer, read_to_end

FILES = dict(
    re.findall(
        r"^`(\w+\.py)`:\n\n```python\n(.*?)```$",
        (ROOT / "docs" / "sans-io.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)


@pytest.fixture(params=["selector_server.py", "asyncio_server.py"])
def connect(request, tmp_path: Path, twin_environment):
    """A function that connects to a documented server, running in a process of its own."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    search = [twin_environment["PYTHONPATH"]] if twin_environment.get("PYTHONPATH") else []  # as make sanitize sets it
    process = subprocess.Popen(
        [sys.executable, request.param, "s"],
        cwd=tmp_path,
        env={**twin_environment, "PYTHONPATH": os.pathsep.join([*search, str(ROOT), str(tmp_path)])},
        stderr=subprocess.PIPE,
    )

    def connected() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        end = time.monotonic() + 20
        while sock.connect_ex(str(tmp_path / "s")) != 0:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        return sock

    yield connected
    process.terminate()
    said = process.communicate(timeout=20)[1]
    assert b"Traceback" not in said.replace(b"KeyboardInterrupt", b"")


def test_requests_on_a_kept_connection(connect):
    with connect() as sock:
        for number in range(1, 20):
            sock.sendall(wire.request(number, b"x" * 10_000 * number, PATH_INFO="/a"))
            answer = read_answer(sock, number)
            assert (answer.status, answer.body) == (200, b"POST /a, %d bytes\n" % (10_000 * number))


def test_connection_without_keep_is_closed_after_its_answer(connect):
    with connect() as sock:
        sock.sendall(wire.request(flags=0, PATH_INFO="/b"))
        assert wire.answer(read_to_end(sock)).body == b"GET /b, 0 bytes\n"


def test_refusal_is_answered_and_its_input_drained(connect):
    with connect() as sock:
        sock.sendall(wire.request(1, bytes(2_000_000), flags=0, PATH_INFO="/c"))
        assert wire.answer(read_to_end(sock)).status == 413


def test_abort_management_and_errors(connect):
    with connect() as sock:
        sock.sendall(wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "9"}))
        sock.sendall(wire.record(wire.GET_VALUES, 0) + wire.record(wire.ABORT, 1))
        assert read_answer(sock).app_status == 1
        sock.sendall(b"not FastCGI at all")
        assert is_closed(sock)
    with connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/d"))
        assert read_answer(sock).body == b"GET /d, 0 bytes\n"


def test_public_names_are_those_of_the_twin_that_runs(twin_environment, twin):
    code = (
        "import fastcore.connection as c; "
        f"assert c.Connection.__module__ == 'fastcore.{twin.name}.connection', c.Connection.__module__; "
        "assert all(hasattr(c, name) for name in c.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], env={**twin_environment, "PYTHONPATH": str(ROOT)}, check=True)
