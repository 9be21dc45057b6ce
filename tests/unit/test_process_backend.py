"""A back end's command: what it says when it cannot run, and its URL table. Each run is a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastcore.client import Client, cgi_params
from framework.process.spec import spec_of
from framework.site import Site, load

SITE = """\
[site]
name = "example"
state_directory = "/nonexistent/state"
[[host]]
name = "a.localhost"
backends = ["web"]
[backend.web]
application = "{application}"
user = "web-user"
group = "web-group"
path = ["code"]
"""

GOOD = """\
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [(environ["SCRIPT_NAME"] + "|" + environ["PATH_INFO"] + "|" + ",".join(sorted(os.environ))).encode()]
value = 7
class Factory:
    inner = app
"""

PAGES = """\
from framework import App, Response
def overview(request):
    return Response.text("overview at " + request.get_url("overview"))
def edit(request, number: int):
    return Response.text(str(number))
app = App([(r"^/$", overview, "overview"), (r"^/edit/(?P<number>[0-9]+)$", edit)])
"""


class Folder:
    """A site folder with one back end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.code = path / "code"
        self.code.mkdir()
        path.chmod(0o755)

    def site(self, application: str, code: str | None = None) -> Site:
        if code is not None:
            (self.code / "web.py").write_text(code)
        file = self.path / "site.toml"
        file.write_text(SITE.format(application=application))
        return load(file)

    def run(self, application: str, code: str | None, *words: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        spec = self.path / "spec.json"
        spec.write_text(json.dumps(spec_of(self.site(application, code), "web") | changes))
        return run_backend("--spec", str(spec), *words)


def run_backend(*words: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-s", "-m", "framework.process.backend", *words]
    options = {"capture_output": True, "text": True, "timeout": 60, "check": False, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, **(options | keywords))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("application", "code", "message"),
    [
        ("web:app", "import os\n\ndef app(:\n", "cannot import 'web': SyntaxError: invalid syntax ({code}/web.py:3)"),
        ("web:app", "\n1 / 0\n", "cannot import 'web': ZeroDivisionError: division by zero ({code}/web.py:2)"),
        (
            "web:app",
            'from fastcore import Router\nRouter([("/a(", 1)])\n',
            "cannot import 'web': PatternError: route 0: missing ), unterminated subpattern /a( ({code}/web.py:2)",
        ),
        ("web:app", "raise SystemExit(3)\n", "cannot import 'web': SystemExit: 3 ({code}/web.py:1)"),
        (
            "web:app",
            "import missing_thing\n",
            "cannot import 'web': ModuleNotFoundError: No module named 'missing_thing' ({code}/web.py:1)",
        ),
        ("absent:app", None, "cannot import 'absent': there is no module 'absent' in {code}"),
        ("absent.inner:app", None, "cannot import 'absent.inner': there is no module 'absent' in {code}"),
        ("web:aap", GOOD, "web:aap: {code}/web.py has no object 'aap'; did you mean 'app'?"),
        ("web:value", GOOD, "web:value is int, not an application: it cannot be called"),
    ],
)
def test_an_application_that_cannot_be_had_is_one_message_and_exit_code_78(
    folder: Folder, application: str, code: str | None, message: str
) -> None:
    done = folder.run(application, code)
    assert done.returncode == 78
    first = done.stderr.splitlines()[0]
    if "no listener was passed" in first:
        done = folder.run(application, code, "--bind", f"unix:{folder.path}/x.sock")
        first = done.stderr.splitlines()[0]
    assert first == f"ERROR back end 'web': {message.format(code=folder.code)}"
    assert done.returncode == 78


def test_the_traceback_shows_the_application_alone(folder: Folder) -> None:
    (folder.code / "helper.py").write_text("def fail():\n    raise ValueError('no')\n")
    done = folder.run("web:app", "import helper\nhelper.fail()\n", "--bind", f"unix:{folder.path}/x.sock")
    files = [line for line in done.stderr.splitlines() if line.startswith("  File")]
    assert files == [
        f'  File "{folder.code}/web.py", line 2, in <module>',
        f'  File "{folder.code}/helper.py", line 2, in fail',
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the spec is not JSON: "),
        ("[]", "the spec is not a JSON object"),
        ('{"version": 99}', "the spec has version 99, this program reads 4: restart the supervisor"),
    ],
)
def test_a_wrong_spec_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "spec").write_text(content)
    done = run_backend("web", "--spec", str(tmp_path / "spec"))
    assert done.returncode == 78
    assert done.stderr.startswith(f"ERROR back end 'web': {message}")


def test_a_missing_spec_is_told(tmp_path: Path) -> None:
    done = run_backend("--spec", f"{tmp_path}/none")
    assert (done.returncode, done.stderr) == (
        78,
        f"ERROR back end '': the spec cannot be read: No such file or directory ({tmp_path}/none)\n",
    )


@pytest.mark.parametrize("words", [["--wrong"], ["a", "b"], ["--spec"], ["--bind"]])
def test_a_wrong_command_line_is_the_usage_and_exit_code_2(words: list[str]) -> None:
    done = run_backend(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m framework.process.backend")


def test_rights_that_are_not_as_declared_end_it_before_the_import(folder: Folder) -> None:
    declared = {"uid": 4711, "gid": os.getgid(), "groups": os.getgroups(), "capabilities": 0, "switch": False}
    marker = folder.path / "imported"
    done = folder.run("web:app", f"open({str(marker)!r}, 'w')\n", privileges=declared)
    assert done.returncode == 77
    assert "does not start, its rights are not as declared: Uid is {" in done.stderr
    assert "declared {4711}" in done.stderr
    assert not marker.exists()


@pytest.mark.parametrize("variables", [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "2"}])
def test_a_listener_that_is_for_somebody_else_is_not_taken(folder: Folder, variables: dict[str, str]) -> None:
    spec = folder.path / "spec.json"
    spec.write_text(json.dumps(spec_of(folder.site("web:app", GOOD), "web")))
    done = run_backend("--spec", str(spec), env={**os.environ, **variables})
    assert done.returncode == 78
    assert "no listener was passed (LISTEN_FDS, LISTEN_PID); give one with --bind ADDRESS" in done.stderr


@pytest.mark.parametrize(("application", "code"), [("web:app", GOOD), ("web:app", PAGES)])
def test_it_serves_says_ready_and_hands_over_its_table(folder: Folder, application: str, code: str) -> None:
    """Under the protocol of socket activation, as systemd or the supervisor would start it."""
    reader, writer = os.pipe()
    site = folder.site(application, code)
    spec = folder.path / "spec.json"
    spec.write_text(json.dumps(spec_of(site, "web", urls_fd=writer)))
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messages,
    ):
        listener.bind(str(folder.path / "web.sock"))
        listener.listen()
        messages.bind(str(folder.path / "notify.sock"))
        messages.settimeout(60)
        program = (
            "import os, sys\n"
            "os.dup2(int(sys.argv[1]), 3)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
            "command = [sys.executable, '-m', 'framework.process.backend', 'web', '--spec', sys.argv[2]]\n"
            "os.execv(sys.executable, command)"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(listener.fileno()), str(spec)],
            pass_fds=(listener.fileno(), writer),
            env={**os.environ, "NOTIFY_SOCKET": str(folder.path / "notify.sock"), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        os.close(writer)
        try:
            assert messages.recv(1000) == b"READY=1\nSTATUS=serving"
            with open(reader, "rb") as pipe:
                table = json.load(pipe)
            with Client(f"unix:{folder.path}/web.sock") as client:
                answer = client.request(cgi_params("GET", "/web/"))
        finally:
            process.terminate()
            assert process.wait(60) == 0
    assert answer.status == 200
    if code == GOOD:
        assert table == []
        assert b"LISTEN" not in answer.body
        assert b"NOTIFY" not in answer.body
    else:
        assert answer.body == b"overview at /web/"
        assert [(row["pattern"], row["name"]) for row in table] == [
            ("^/$", "overview"),
            ("^/edit/(?P<number>[0-9]+)$", None),
        ]


WITNESS = """\
import json, sys
from framework import App, Response
def modules(request):
    return Response.text(" ".join(sys.modules))
def late(request):
    import logging
    logging.getLogger("web").warning("two\\nlines")
    return Response.text("logged")
app = App([("^/$", modules), ("^/late$", late)])
"""

HEAVY = {"argparse", "asyncio", "ctypes", "dataclasses", "email", "hashlib", "http", "inspect", "logging", "pathlib"}
HEAVY |= {
    "_hashlib",
    "socketserver",
    "ssl",
    "datetime",
    "ipaddress",
    "subprocess",
    "tempfile",
    "threading",
    "traceback",
    "tomllib",
}


def test_what_an_application_does_not_use_is_not_in_its_memory_and_logging_is_set_up_when_it_is(folder: Folder) -> None:
    spec = folder.path / "spec.json"
    spec.write_text(json.dumps(spec_of(folder.site("web:app", WITNESS), "web")))
    address = f"unix:{folder.path}/web.sock"
    command = [sys.executable, "-P", "-s", "-m", "framework.process.backend", "--spec", str(spec), "--bind", address]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 20
            while not (folder.path / "web.sock").exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            with Client(address) as client:
                modules = client.request(cgi_params("GET", "/web/"))
                late = client.request(cgi_params("GET", "/web/late"))
        finally:
            process.terminate()
            said = process.communicate(timeout=60)[1]
    assert (modules.status, late.status) == (200, 200)
    assert not HEAVY & set(modules.body.decode().split())
    assert "<4>web: two\n<4>lines\n" in said


FORKING = """\
import os, time
from framework import App, Response
def fork(request):
    child = os.fork()
    if not child:
        time.sleep(600)
        os._exit(0)
    return Response.text(str(child))
app = App([("^/$", fork)])
"""


def test_what_the_application_of_a_single_worker_forks_dies_with_it(folder: Folder) -> None:
    spec = folder.path / "spec.json"
    spec.write_text(json.dumps(spec_of(folder.site("web:app", FORKING), "web")))
    address = f"unix:{folder.path}/web.sock"
    command = [sys.executable, "-P", "-s", "-m", "framework.process.backend", "--spec", str(spec), "--bind", address]
    deadline = time.monotonic() + 20
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        while not (folder.path / "web.sock").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        with Client(address) as client:
            child = int(client.request(cgi_params("GET", "/web/")).body)
    finally:
        process.kill()
        process.wait(60)
    deadline = time.monotonic() + 20
    while runs(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(child)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
