"""``python -m fastcore.client`` as somebody at a terminal sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fastcore import constants as c
from fastcore import implementation

records = implementation.twin("pure").records


def answer(request: tuple[dict[bytes, bytes], bytes]) -> bytes:
    """What the test's server says: by PATH_INFO."""
    params, body = request
    path = params.get(b"PATH_INFO", b"")
    status, stderr, app_status = b"200 OK", b"", 0
    if path == b"/missing":
        status = b"404 Not Found"
    if path == b"/broken":
        stderr, app_status = b"Traceback: boom\n", 3
    lines = b"".join(b"%s=%s\n" % pair for pair in sorted(params.items())) if path == b"/params" else body
    output = b"Status: %s\nX-Test: yes\n\n%s" % (status, lines)
    errors = records.build_stream(c.STDERR, 1, stderr)
    return errors + records.build_stream(c.STDOUT, 1, output) + records.build_end_request(1, app_status, 0)


def serve(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock, _ = listener.accept()
            with sock, sock.makefile("rb") as file:
                params = body = b""
                while len(header := file.read(8)) == 8:
                    kind, _, length, padding = records.parse_header(header)
                    content = file.read(length + padding)[:length]
                    params += content if kind == c.PARAMS else b""
                    body += content if kind == c.STDIN else b""
                    if kind == c.STDIN and not content:
                        sock.sendall(answer((dict(records.parse_pairs(params)), body)))
                        break


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("c") / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"unix:{path}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fastcore.client", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, env=dict(os.environ))


def test_the_body_goes_to_standard_output_alone(address: str) -> None:
    result = run(address, "/echo", "-d", "hello")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"hello", b"")


def test_include_prints_status_and_headers_first(address: str) -> None:
    result = run(address, "-i", "/missing")
    assert result.stdout == b"Status: 404 Not Found\r\nX-Test: yes\r\n\r\n"


def test_fail_makes_the_status_an_exit_code(address: str) -> None:
    assert run(address, "/missing").returncode == 0
    assert run(address, "--fail", "/missing").returncode == 22


def test_method_headers_prefix_and_parameters_arrive(address: str) -> None:
    result = run(
        address,
        "/app/params?q=1",
        *("--script-name", "/app"),
        *("-X", "PUT"),
        *("-H", "X-Name: J\xfcrgen"),
        *("--param", "SCRIPT_FILENAME=/srv/a=b"),
        *("--param", "CONTENT_LENGTH="),
        *("--param", "REDIRECT_STATUS"),
    )
    lines = result.stdout.decode().splitlines()
    for line in [
        "REQUEST_METHOD=PUT",
        "QUERY_STRING=q=1",
        "SCRIPT_NAME=/app",
        "HTTP_X_NAME=J\xfcrgen",
        "SCRIPT_FILENAME=/srv/a=b",
        "CONTENT_LENGTH=",
    ]:
        assert line in lines
    assert not any(line.startswith("REDIRECT_STATUS") for line in lines)


def test_a_body_may_come_from_a_file_or_standard_input(address: str, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "body").write_bytes(content)
    assert run(address, "/echo", "-d", f"@{tmp_path / 'body'}").stdout == content
    assert run(address, "/echo", "-d", "@-", stdin=content).stdout == content


def test_the_applications_errors_and_exit_code_go_to_standard_error(address: str) -> None:
    result = run(address, "/broken")
    assert result.stderr == b"Traceback: boom\n< appStatus 3\n"


def test_verbose_tells_what_is_sent_and_what_comes_back(address: str) -> None:
    result = run(address, "-v", "/missing")
    for line in [b"> REQUEST_METHOD='GET'", b"< Status: 404 Not Found", b"< X-Test: yes", b"< appStatus 0"]:
        assert line in result.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("unix:/no/such.sock", "/"), 1, "is the server running?"),
        (("9000", "/"), 2, "write 127.0.0.1:9000"),
        (("fd:0", "/"), 2, "a client connects to"),
        (("unix:/x", "path"), 2, "begins with / or http://"),
        (("unix:/x", "/", "-H", "NoColon"), 2, "write 'Name: value'"),
        (("unix:/x", "/", "-d", "@/no/such/file"), 1, "/no/such/file: No such file"),
        (("unix:/x", "/", "--timeout", "0"), 2, "positive number of seconds"),
    ],
)
def test_mistakes_are_told_without_a_traceback(arguments: tuple[str, ...], status: int, text: str) -> None:
    result = run(*arguments)
    assert result.returncode == status
    assert text in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


def test_help_teaches_by_example() -> None:
    text = run("--help").stdout.decode()
    assert "examples:" in text
    assert "--param SCRIPT_FILENAME=" in text
