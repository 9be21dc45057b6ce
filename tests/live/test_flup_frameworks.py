"""Flask, Django and Bottle applications, unchanged: they import flup, and `python -m fastcore.flup` gives them ours."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from urllib.parse import quote

import pytest
from flup_server import ROOT, FlupServer

from fastcore.client import Client, Response, cgi_params

SUPPORT = ROOT / "tests" / "support"


@pytest.fixture(params=("flask", "django", "bottle"))
def script(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed (the extra named test)")
    return SUPPORT / f"flup_{request.param}_app.py"


@pytest.fixture
def client(script, tmp_path, twin_environment):
    server = FlupServer(tmp_path, ["-W", "error", "-m", "fastcore.flup", str(script), "s"], twin_environment).start()
    with Client(f"unix:{server.path}") as client:
        yield client
    server.end()
    assert server.process.returncode == 0
    server.kill()


def ask(client: Client, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return client.request(cgi_params(method, target, [("Host", "localhost"), *named], body_length=len(body)), body)


def test_path_and_query_in_any_language(client):
    response = ask(client, "GET", f"/hello/{quote('Zoë Ωmega')}?greeting={quote('grüß dich')}")
    assert (response.status, response.body.decode()) == (200, "Hello Zoë Ωmega, grüß dich")


def test_form_redirect_and_signed_cookie(client):
    form = f"name={quote('Zoë')}".encode()
    response = ask(client, "POST", "/form", form, Content_Type="application/x-www-form-urlencoded")
    assert response.status in (302, 303)
    assert response.header("Location").removeprefix("http://localhost") == "/remembered"
    cookie = response.header("Set-Cookie").partition(";")[0]
    assert ask(client, "GET", "/remembered", Cookie=cookie).body.decode() == "Zoë"
    assert ask(client, "GET", "/remembered").body == b"nobody"


def test_upload(client):
    content = os.urandom(1 << 20)
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="some.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--edge--\r\n"
    )
    response = ask(client, "POST", "/upload", body, Content_Type="multipart/form-data; boundary=edge")
    assert response.body.decode() == f"some.bin {hashlib.sha256(content).hexdigest()}"


def test_json(client):
    response = ask(client, "POST", "/json", b'{"number": 21}', Content_Type="application/json")
    assert b"".join(response.body.split()) == b'{"doubled":42}'
    assert response.header("Content-Type") == "application/json"


def test_stream_and_file(client, script):
    assert ask(client, "GET", "/stream").body.splitlines() == [b"%d" % number for number in range(100)]
    assert ask(client, "GET", "/file").body == script.read_bytes()


def test_errors_are_the_frameworks_own(client):
    assert ask(client, "GET", "/forbidden").status == 403
    assert ask(client, "GET", "/nowhere").status == 404
    response = ask(client, "GET", "/boom")
    assert response.status == 500
    assert b"inner" not in response.body


def test_head_has_no_body(client):
    response = ask(client, "HEAD", "/file")
    assert (response.status, response.body) == (200, b"")
