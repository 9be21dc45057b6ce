"""A framework App in fastcore's own server, by both interfaces and on both twins, asked by fastcore.client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fastcore.client import Client, Response, cgi_params
from fastcore.errors import FastCGIError

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """The running application and a client of it."""

    def __init__(self, address: str, log: Path) -> None:
        self.client = Client(address, timeout=20)
        self.log = log

    def ask(
        self, target: str, method: str = "GET", headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> Response:
        length = len(body) if method in ("POST", "PUT") else None
        everything = [("Host", "console.localhost"), *headers]
        return self.client.request(cgi_params(method, target, everything, body_length=length), body)


def header(response: Response, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


@pytest.fixture(params=["native", "wsgi"])
def served(request: pytest.FixtureRequest, tmp_path: Path, twin_environment: dict[str, str]) -> Iterator[Served]:
    path, log = tmp_path / "s", tmp_path / "log"
    command = [sys.executable, "-m", "fastcore", "--bind", f"unix:{path}", "--interface", request.param]
    command += ["--path", str(ROOT / "tests" / "support"), "served_app:app"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**twin_environment, "PYTHONPATH": str(ROOT)}, stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + 20
        while not path.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.01)
        running = Served(f"unix:{path}", log)
        yield running
        running.client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_pages_parameters_and_addresses(served: Served) -> None:
    page = served.ask("/", headers=[("Accept", "application/xhtml+xml")])
    assert (page.status, header(page, "Content-Type")) == (200, "application/xhtml+xml; charset=utf-8")
    assert page.body.decode().endswith("<p>ü</p></html>")
    assert served.ask("/item/7").body == b"item 7 at /item/7"
    assert served.ask("/item/x").status == 404
    put = served.ask("/item/7", "PUT", [("Content-Type", "application/json")], b'{"a": 1}')
    assert json.loads(put.body) == {"id": 7, "json": {"a": 1}}
    assert (served.ask("/item/7", "DELETE").status, served.ask("/item/7", "OPTIONS").status) == (405, 204)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/" + b"x" * 1_000_000, 431),  # more than limits.params_bytes
        (b"/" + b"x" * 100_000, 404),
        (b"/item/" + b"7" * 100_000, 404),
        (b"/item/7\0", 400),
        (b"/item/\xed\xb2\x80", 400),  # a lone surrogate, as a broken encoder writes it
        (b"/item/\xff", 400),
        (b"/item/%zz", 404),
        (b"/%", 404),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else None,
)
def test_no_path_is_an_error_of_the_server(served: Served, path: bytes, status: int) -> None:
    params = cgi_params("GET", "/", [("Host", "console.localhost")])
    strange = {name.encode("latin-1"): value.encode("latin-1") for name, value in params.items()} | {b"PATH_INFO": path}
    assert served.client.request(strange).status == status
    assert served.ask("/item/7").body == b"item 7 at /item/7"
    assert "Traceback" not in served.log.read_text()


def test_head_has_the_length_of_get(served: Served) -> None:
    head = served.ask("/item/7", "HEAD")
    assert (head.status, head.body, header(head, "Content-Length")) == (200, b"", "17")


def test_forms_cookies_and_redirects(served: Served) -> None:
    kind = [("Content-Type", "application/x-www-form-urlencoded")]
    answer = served.ask("/sign-in", "POST", kind, b"name=ada")
    assert (answer.status, header(answer, "Location")) == (303, "/")
    assert header(answer, "Set-Cookie") == "user=ada; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert served.ask("/sign-in", "POST", kind, b"name=eve").status == 403
    assert served.ask("/sign-in", "POST", kind, b"name=%FF").status == 400


@pytest.mark.parametrize("size", [10, 500_000])
def test_uploads(served: Served, size: int) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n\r\n' + b"y" * size + b"\r\n--x--\r\n"
    answer = served.ask("/upload", "POST", [("Content-Type", "multipart/form-data; boundary=x")], body)
    assert json.loads(answer.body) == [["a.bin", size, "yyy"]]


def test_files_and_conditions(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "big.css"
    file.write_bytes(b"body{}\n" * 50_000)
    first = served.ask(f"/file?path={file}")
    assert (first.status, header(first, "Content-Type")) == (200, "text/css; charset=utf-8")
    assert first.body == file.read_bytes()
    again = served.ask(f"/file?path={file}", headers=[("If-None-Match", header(first, "ETag") or "")])
    assert (again.status, again.body) == (304, b"")
    assert served.ask(f"/file?path={tmp_path}/none").status == 404


def test_streams(served: Served) -> None:
    answer = served.ask("/lines")
    assert answer.body == b"".join(b"line %d\n" % number for number in range(20_000))


def test_failures_are_logged_and_do_not_stop_the_server(served: Served) -> None:
    failed = served.ask("/fail")
    assert failed.status == 500
    error_id = failed.body.partition(b"<code>")[2].partition(b"</code>")[0].decode()
    assert f"error {error_id} in GET /fail: RuntimeError" in served.log.read_text()
    assert "on purpose" in served.log.read_text()
    with pytest.raises(FastCGIError, match="not whole"):
        served.ask("/broken")
    assert "in the middle" in served.log.read_text()
    assert served.ask("/item/1").status == 200


def test_remote_calls(served: Served) -> None:
    call = b'{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1}'
    answer = served.ask("/rpc", "POST", [("Content-Type", "application/json")], call)
    assert json.loads(answer.body) == {"jsonrpc": "2.0", "result": 3, "id": 1}
    assert b"export default" in served.ask("/rpc").body
    hostile = [("Content-Type", "application/json"), ("Origin", "http://evil.example")]
    assert served.ask("/rpc", "POST", hostile, call).status == 403
