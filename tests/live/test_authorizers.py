"""fastcore as an authorizer before real front ends: who passes, what the next stage and the browser are told."""

from __future__ import annotations

import ast
import base64
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from front_ends import AUTHORIZERS, Site, stop
from http_talk import ask

SERVER = ["-m", "fastcore", "--bind", "fd:0", "--interface", "native", "--role", "authorizer"]
SERVER += ["--path", "tests/support", "applications:authorizer"]


@contextmanager
def authorized(front_end, listener, places):
    """The site behind the front end, and an authorizer on `listener` before it; `places` says where that is."""
    if not shutil.which(front_end.program, path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip(f"needs {front_end.program} (scripts/debian-packages.sh)")
    site = Site(front_end, os.environ, "", places=places)
    with site._log_path.open("ab") as log:
        process = subprocess.Popen([sys.executable, *SERVER], stdin=listener, stdout=log, stderr=log)
    try:
        with site:
            yield site
    finally:
        stop(process)


@pytest.fixture(scope="module")
def behind_lighttpd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("auth")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "auth.sock"))
        (folder / "auth.sock").chmod(0o666)
        listener.listen(64)
        with authorized(
            AUTHORIZERS["lighttpd-authorizer"], listener, {"/run/auth.sock": str(folder / "auth.sock")}
        ) as site:
            yield site


@pytest.fixture(scope="module")
def behind_apache():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with authorized(AUTHORIZERS["apache-authorizer"], listener, {"9001": str(listener.getsockname()[1])}) as site:
            yield site


def told(answer):
    assert answer.status == 200
    return dict(ast.literal_eval(answer.body.decode()))


def basic(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_36_lighttpd_who_is_authorized_reaches_the_next_stage_with_the_variables(behind_lighttpd):
    environ = told(ask(behind_lighttpd.port, "GET", "/environ", "Cookie: user=alice"))
    assert (environ["AUTH_NAME"], environ["ROLE"]) == ("alice", "2")


def test_36_lighttpd_a_body_reaches_the_responder_past_the_authorizer(behind_lighttpd):
    body = os.urandom(300_000)
    for _ in range(3):
        assert ask(behind_lighttpd.port, "POST", "/echo", "Cookie: user=alice", body=body).body == body


def test_52_lighttpd_shows_the_refusal_of_the_authorizer(behind_lighttpd):
    answer = ask(behind_lighttpd.port, "GET", "/environ")
    assert (answer.status, answer.body) == (401, b"who are you?")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="test"'
    assert answer.headers["X-Own"] == "1"


def test_early_refusal_of_an_upload_passes_behind_an_authorizer(behind_lighttpd, behind_apache):
    for site, who in ((behind_lighttpd, "Cookie: user=alice"), (behind_apache, basic("alice", "opensesame"))):
        assert ask(site.port, "POST", "/echo", who, body=b"body").body == b"body"
        assert ask(site.port, "POST", "/die", who, body=bytes(25_000_000)).status == 413
        assert ask(site.port, "GET", "/hello", who).body == b"hello"


def test_50_lighttpd_nobody_passes_an_authorizer_that_fails(behind_lighttpd):
    answer = ask(behind_lighttpd.port, "GET", "/environ?boom", "Cookie: user=alice")
    assert answer.status == 500
    assert b"PATH_INFO" not in answer.body


def test_36_apache_the_right_password_passes_and_the_variables_reach_the_next_stage(behind_apache):
    environ = told(ask(behind_apache.port, "GET", "/environ", basic("alice", "opensesame")))
    assert (environ["AUTH_NAME"], environ["ROLE"], environ["REMOTE_USER"]) == ("alice", "2", "alice")
    assert "REMOTE_PASSWD" not in environ


def test_52_apache_refuses_whom_the_authorizer_refuses(behind_apache):
    assert ask(behind_apache.port, "GET", "/environ", basic("alice", "wrong")).status == 401
    assert ask(behind_apache.port, "GET", "/environ").status == 401


def test_50_apache_nobody_passes_an_authorizer_that_fails_and_no_password_is_logged(behind_apache):
    for path in ("/environ?boom", "/environ"):
        answer = ask(behind_apache.port, "GET", path, basic("alice", "opensesame" if "boom" in path else "secretword"))
        assert answer.status in (401, 500)
    assert "the authorizer fails" in behind_apache.log
    for password in ("opensesame", "secretword"):
        assert password not in behind_apache.log
