"""`sitectl call`: functions of a running Proxy from the command line, by socket and by URL."""

from __future__ import annotations

import enum
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from loop_thread import LoopThread

from fastcore import implementation
from framework import App, Request
from framework.cli import main
from framework.rpc import Progress, Proxy, RPCError


class Busy(RPCError):
    pass


class State(enum.Enum):
    UP = "up"


def rename(disk: str, label: str = "data") -> str:
    """Give a disk another label."""
    if disk == "sda":
        raise Busy("The disk is in use.", code=7, data={"by": ["root"]})
    return f"{disk} {label}"


def kinds(value: Any, state: State = State.UP, *more: int) -> Any:
    return [value, state, list(more)]


def count(to: int) -> Iterator[Any]:
    yield Progress(1, 2, "half")
    for number in range(to):
        yield {"n": number}
    return "done"  # type: ignore[return-value]


def who(request: Request) -> str | None:
    return request.remote_user


def broken() -> None:
    raise ZeroDivisionError("division\x1b[31m by zero")


def raw() -> bytes:
    return b"\0\xff"


def nothing() -> None: ...


def echo(text: str) -> str:
    return text


def blob() -> bytes:
    return b"\x1b[31m\xff"


APP = App(
    [
        ("/rpc$", Proxy({"rename": rename, "deep": {"kinds": kinds}, "count": count, "who": who, "broken": broken})),
        ("/more$", Proxy([raw, nothing]), "more"),
        ("/quiet$", Proxy([rename], discover=False)),
        ("/tricky$", Proxy([echo, blob])),
    ]
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    twin = implementation.twin("compiled" if implementation.accelerated else "pure")
    with LoopThread(twin, APP, tmp_path_factory.mktemp("s")) as loop:
        yield f"unix:{loop.path}"


class Said:
    def __init__(self, address: str, capsys: Any) -> None:
        self._address = address
        self._capsys = capsys

    def __call__(self, *words: str, path: str = "/rpc") -> tuple[int, str, str]:
        status = main(["call", self._address, path, *words])
        said = self._capsys.readouterr()
        return status, said.out, said.err


@pytest.fixture
def call(address: str, capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(address, capsys)


def test_arguments_are_text_or_json_by_what_the_function_takes(call: Said) -> None:
    assert call("rename", "7") == (0, "7 data\n", "")
    assert call("rename", "sdb", "label=a=b") == (0, "sdb a=b\n", "")
    assert call("rename", "label=x", "disk=true") == (0, "true x\n", "")
    assert call("deep.kinds", "7", "--json") == (0, '[7,"up",[]]\n', "")
    assert call("--json", "deep.kinds", "seven", "up", "1", "-2") == (0, '["seven","up",[1,-2]]\n', "")
    assert json.loads(call("deep.kinds", '{"a": [1]}')[1])[0] == {"a": [1]}


def test_what_does_not_fit_is_said_and_is_the_command_lines_mistake(call: Said) -> None:
    status, out, err = call("renam", "sdb")
    assert (status, out) == (2, "")
    assert "there is no function 'renam'; did you mean 'rename'?" in err
    assert "deep.kinds" in err
    status, _, err = call("rename")
    assert (status, "the argument 'disk' is missing" in err) == (2, True)
    status, _, err = call("count", "x")
    assert (status, "the argument 'to': an integer is needed" in err) == (2, True)
    status, _, err = call("rename", "disk=x", "y")
    assert (status, "in order come first" in err) == (2, True)
    status, _, err = call("rename", "sdb", "disk=sdc")
    assert (status, 'rename(disk: string, label: string = "data")' in err) == (2, True)
    assert call("rename", "sdb", "lable=x")[0] == 2


def test_errors_are_those_of_a_page(call: Said, caplog: pytest.LogCaptureFixture) -> None:
    assert call("rename", "sda") == (1, "", "sitectl call: Busy: The disk is in use. (code 7)\n")
    status, out, _ = call("rename", "sda", "--json")
    told = {"type": "Busy", "message": "The disk is in use.", "code": 7, "id": None, "data": {"by": ["root"]}}
    assert (status, json.loads(out)) == (1, {"error": told})
    status, _, err = call("broken")
    assert status == 1
    assert "ZeroDivisionError: division\\x1b[31m by zero (id " in err
    assert err.partition("(id ")[2][:10] in caplog.text


def test_items_of_a_generator_are_lines(call: Said) -> None:
    assert call("count", "2", "--json")[1].splitlines() == [
        '{"done":1,"total":2,"text":"half"}',
        '{"n":0}',
        '{"n":1}',
        '"done"',
    ]
    status, out, err = call("count", "0")
    assert (status, out, err) == (0, "done\n", "1 of 2 half\n")


def test_results_without_a_text(address: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["call", address, "/more", "nothing"]) == 0
    assert main(["call", address, "/more", "raw"]) == 0
    assert capfdbinary.readouterr().out == b"\0\xff"
    assert main(["call", address, "/more", "raw", "--json"]) == 0
    assert capfdbinary.readouterr().out == b'{"$bytes":"AP8="}\n'


def test_nothing_that_a_function_returns_steers_the_terminal(address: str) -> None:
    controller, terminal = os.openpty()
    program = "import sys; from framework.cli import main; raise SystemExit(main(sys.argv[1:]))"
    for words in (["echo", "\x1b[31m\x9b31m"], ["echo", "\x9b31m", "--json"], ["blob"]):
        subprocess.run(
            [sys.executable, "-c", program, "call", address, "/tricky", *words], stdout=terminal, check=True, timeout=60
        )
    os.close(terminal)
    said = b""
    with suppress(OSError):  # a terminal's other end is gone
        while piece := os.read(controller, 4096):
            said += piece
    os.close(controller)
    assert said.decode().splitlines() == [r"\x1b[31m\x9b31m", r'"\x9b31m"', r"\x1b[31m\xff"]


def test_without_a_function_all_are_listed(call: Said) -> None:
    status, out, _ = call()
    assert status == 0
    assert '  rename(disk: string, label: string = "data")\n      Give a disk another label.' in out
    assert "deep.kinds(value, state: State = " in out
    assert json.loads(call("--json")[1])["openrpc"] == "1.3.2"


def test_a_proxy_that_does_not_tell_its_functions_can_be_called(call: Said) -> None:
    assert call("rename", "sdb", path="/quiet") == (0, "sdb data\n", "")
    assert "does not tell" in call(path="/quiet")[1]
    status, _, err = call("nope", path="/quiet")
    assert (status, "MethodNotFound: the server has no function nope" in err) == (2, True)


def test_who_calls(call: Said) -> None:
    assert call("who") == (0, "", "")
    assert call("who", "--as", "operator") == (0, "operator\n", "")
    status = main(["call", "http://127.0.0.1/rpc", "who", "--as", "operator"])
    assert status == 2


def test_where_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["call", f"unix:{tmp_path}/none", "/rpc", "who"]) == 1
    assert "is the server running?" in capsys.readouterr().err
    assert main(["call", f"unix:{tmp_path}/none", "who"]) == 2
    assert "the path of the Proxy" in capsys.readouterr().err
    assert main(["call", "http://", "who"]) == 2
    assert "http(s)://host/path" in capsys.readouterr().err


SITE = """\
[site]
name = "calls"
run_directory = "{run}"

[[host]]
name = "console.localhost"
backends = {{ status = "/status" }}

[backend.status]
application = "status:app"
"""


def test_the_site_file_says_where(tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    (run / "sockets").mkdir(parents=True)
    (run / "urls").mkdir()
    file = tmp_path / "site.toml"
    file.write_text(SITE.format(run=run))

    def sitectl(*words: str) -> tuple[int, str, str]:
        status = main(["call", str(file), *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    assert sitectl()[0] == sitectl("stats", "who")[0] == 2
    assert "did you mean 'status'?" in (sitectl("stats", "who")[2])
    status, _, err = sitectl("status", "who")
    assert (status, "is the site running?" in err) == (1, True)
    (run / "sockets" / "status.sock").symlink_to(address.removeprefix("unix:"))
    (run / "urls" / "status.json").write_text(json.dumps(APP.urls.describe()))
    app_mounts = [("console.localhost", "/status")]
    APP.mount(mounts=app_mounts)
    try:
        assert sitectl("status", "rename", "sdb") == (0, "sdb data\n", "")
        assert sitectl("status:more", "nothing") == (0, "", "")
        assert sitectl("status", "raw", "--json") == (0, '{"$bytes":"AP8="}\n', "")
        assert sitectl("status:none", "raw")[0] == 2
        assert "/more" in sitectl("status")[1] or "more:" in sitectl("status")[1]
    finally:
        APP.mount()


AS_NOBODY = """\
import os, sys
from framework.cli import main

assert main(sys.argv[1:]) == 1  # for root there is a socket, and nobody who answers; what it takes is imported now
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
else:
    os.chmod(os.environ["SOCKET"], 0)
print("now")
raise SystemExit(main(sys.argv[1:]))
"""


def test_who_may_not_is_told_who_may() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("run", "run/sockets", "run/urls"):
            (folder / each).mkdir()
            (folder / each).chmod(0o755)
        file, path = folder / "site.toml", folder / "run/sockets/status.sock"
        file.write_text(SITE.format(run=folder / "run"))
        file.chmod(0o644)
        (folder / "run/urls/status.json").write_text(json.dumps(APP.urls.describe()))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
        path.chmod(0o660)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, "call", str(file), "status", "who"],
            capture_output=True,
            text=True,
            env={**os.environ, "SOCKET": str(path)},
            timeout=60,
        )
    assert (done.returncode, done.stdout) == (1, "now\n"), done.stderr
    assert "only root and the front end's user (www-data) may: use sudo" in done.stderr.splitlines()[-1]
