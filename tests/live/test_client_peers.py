"""The client against FastCGI servers that are not ours: the C library libfcgi, and flup where it is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcore.client import AsyncClient, Client, ConnectionLost, cgi_params

LIBFCGI_ECHO = r"""
#include <fcgi_stdio.h>
#include <stdlib.h>
int main(void) {
    static char buffer[65536];
    while (FCGI_Accept() >= 0) {
        size_t got;
        printf("Status: 200 OK\r\nX-Method: %s\r\n\r\n", getenv("REQUEST_METHOD"));
        while ((got = fread(buffer, 1, sizeof buffer, stdin)) > 0)
            fwrite(buffer, 1, got, stdout);
        fprintf(stderr, "done with %s\n", getenv("PATH_INFO"));
        FCGI_SetExitStatus(5);
    }
    return 0;
}
"""

FLUP_ECHO = """
import sys
from flup.server.fcgi_fork import WSGIServer

def application(environ, start_response):
    body = environ["wsgi.input"].read()
    environ["wsgi.errors"].write("done with %s\\n" % environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Method", environ["REQUEST_METHOD"])])
    return [body]

WSGIServer(application, bindAddress=sys.argv[1]).run()
"""


def libfcgi_command(directory: Path) -> list[str]:
    if shutil.which("gcc") is None or not Path("/usr/include/fcgi_stdio.h").exists():
        pytest.skip("libfcgi is not installed (Debian: gcc libfcgi-dev)")
    (directory / "echo.c").write_text(LIBFCGI_ECHO)
    subprocess.run(["gcc", "-o", directory / "echo", directory / "echo.c", "-lfcgi"], check=True, timeout=60)
    return [str(directory / "echo")]


def flup_command(directory: Path) -> list[str]:
    if importlib.util.find_spec("flup") is None:
        pytest.skip("flup is not installed (the extra named bench)")
    (directory / "echo.py").write_text(FLUP_ECHO)
    return [sys.executable, str(directory / "echo.py"), str(directory / "s")]


@pytest.fixture(params=[libfcgi_command, flup_command])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a running echo server."""
    command = request.param(tmp_path)
    path = tmp_path / "s"
    if request.param is libfcgi_command:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            process = subprocess.Popen(command, stdin=listener.fileno(), start_new_session=True)
    else:
        process = subprocess.Popen(command, start_new_session=True)
    try:
        wait_for(path)
        yield f"unix:{path}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers: flup's do not always heed SIGTERM
        process.wait(20)


def wait_for(path: Path) -> None:
    for _ in range(1500):
        with socket.socket(socket.AF_UNIX) as probe:
            if path.exists() and probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens at {path}")


def test_requests_and_bodies_of_all_sizes(peer: str) -> None:
    with Client(peer, timeout=20) as client:
        for size in [0, 1, 65535, 65536, 1_000_000]:
            body = os.urandom(size)
            response = client.request(cgi_params("PUT", "/x", body_length=size), body)
            assert (response.status, response.header("X-Method"), response.body == body) == (200, "PUT", True)
            assert response.errors == b"done with /x\n"


def test_fifty_requests_at_once_by_the_asyncio_client(peer: str) -> None:
    async def run() -> list[bytes]:
        # libfcgi serves one connection at a time: a kept one would keep the others waiting.
        async with AsyncClient(peer, timeout=20, keep_alive=False, max_connections=8) as client:
            bodies = [b"%d" % number for number in range(50)]
            answers = (client.request(cgi_params("POST", "/", body_length=len(body)), body) for body in bodies)
            return [answer.body for answer in await asyncio.gather(*answers)]

    assert asyncio.run(run()) == [b"%d" % number for number in range(50)]


def test_a_request_without_keep_alive(peer: str) -> None:
    client = Client(peer, timeout=20, keep_alive=False)
    for _ in range(3):
        assert client.request(cgi_params("GET", "/")).status == 200


def test_a_server_that_is_killed_is_told(tmp_path: Path) -> None:
    command = libfcgi_command(tmp_path)
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        process = subprocess.Popen(command, stdin=listener.fileno())

    def body() -> Iterator[bytes]:
        yield b"x"
        process.kill()
        process.wait(20)
        yield b"y"

    with Client(f"unix:{path}", timeout=20) as client, pytest.raises(ConnectionLost, match="connection"):
        client.request(cgi_params("POST", "/", body_length=2), body())
