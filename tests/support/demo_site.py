"""The demo as it runs in earnest: its site file with users, folders and a port of its own, set up and run."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "appliance"
START_SECONDS = 30.0
STOP_SECONDS = 20.0
CONSOLE = "console.localhost"
WALL = "wall.localhost"


def derive(folder: Path, source: Path = DEMO) -> Path:
    """A site file in `folder` like that of `source`, with a name, users, folders and a port that nobody else has."""
    site: dict[str, Any] = tomllib.loads((source / "site.toml").read_text())
    unique = f"fct-{secrets.token_hex(3)}"
    site["site"] |= {
        "name": unique,
        "listen": f"127.0.0.1:{free_port()}",
        "run_directory": str(folder / "run"),
        "state_directory": str(folder / "state"),
    }
    for host in site["host"]:
        if "static" in host:
            host["static"] = str(source / host["static"])
    for name, backend in site["backend"].items():
        backend |= {"user": f"{unique}-{name}", "path": [str(source)]}
    file = folder / "site.toml"
    file.write_text(to_toml(site))
    return file


def to_toml(site: Mapping[str, Any]) -> str:
    """The few kinds of TOML that a site file needs. JSON's texts, numbers, lists and truth values are TOML's too."""
    lines: list[str] = []
    tables = [(("site",), site["site"]), *((("backend", name), table) for name, table in site["backend"].items())]
    for path, table in tables:
        lines += [f"[{'.'.join(path)}]", *_pairs(table), ""]
    for host in site["host"]:
        lines += ["[[host]]", *_pairs(host), ""]
    return "\n".join(lines)


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            value_text = "{ " + ", ".join(f"{inner} = {json.dumps(entry)}" for inner, entry in value.items()) + " }"
        else:
            value_text = json.dumps(value)
        yield f"{key} = {value_text}"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def main(self) -> str:
        """The main part's words, without markup."""
        inner = re.search(r"<main.*</main>", self.text, re.S)
        return " ".join(re.sub(r"<[^>]+>", " ", inner[0] if inner else self.text).split())


@dataclass
class Visitor:
    """A client with cookies that sends forms as a browser would."""

    port: int
    host: str = CONSOLE
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = {"Host": f"{self.host}:{self.port}", **(headers or {})}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        kind = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.ask("POST", path, urllib.parse.urlencode(fields).encode(), kind)

    def call(self, path: str, method: str, *params: object) -> Any:
        """A remote call by JSON-RPC; the whole answer."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        return json.loads(self.ask("POST", path, body, {"Content-Type": "application/json"}).body)

    def hidden(self, path: str) -> dict[str, str]:
        """The hidden fields of a page's form."""
        found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', self.get(path).text)
        return dict(found)


@dataclass
class Running:
    """A demo that serves. `process` is sitectl."""

    file: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def visitor(self, host: str = CONSOLE) -> Visitor:
        return Visitor(self.port, host)

    def url(self, path: str = "/", host: str = CONSOLE) -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def site(self) -> dict[str, Any]:
        return tomllib.loads(self.file.read_text())

    def user(self, backend: str) -> str:
        return str(self.site["backend"][backend]["user"])

    def state(self, backend: str) -> Path:
        return Path(self.site["site"]["state_directory"]) / backend


def sitectl(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "framework.cli", *arguments], capture_output=True, text=True, timeout=60, **options
    )


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that other users can walk through, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="demo-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def running(source: Path = DEMO) -> Iterator[Running]:
    """`sitectl setup` and `sitectl run` as root, with lighttpd; everything is stopped and removed afterwards."""
    with folder() as place:
        file = derive(place, source)
        made = sitectl("setup", str(file))
        assert made.returncode == 0, made.stdout + made.stderr
        try:
            with serving([sys.executable, "-m", "framework.cli", "run", str(file)], file, place / "log") as demo:
                yield demo
        finally:
            removed = sitectl("remove", str(file), "--yes")
            assert removed.returncode == 0, removed.stdout + removed.stderr


@contextlib.contextmanager
def serving(command: list[str], file: Path, log: Path, **options: Any) -> Iterator[Running]:
    """Starts `command`, waits until the site answers, and ends it by SIGTERM."""
    port = int(tomllib.loads(file.read_text())["site"]["listen"].rpartition(":")[2])
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=file.parent, **options)
    demo = Running(file, port, process, log)
    try:
        _await_answer(demo)
        yield demo
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"it did not stop within {STOP_SECONDS} s:\n{log.read_text()}") from None


def _await_answer(demo: Running) -> None:
    prefixes = [f"/{name}/" for name in demo.site["backend"]]
    deadline = time.monotonic() + START_SECONDS
    while True:
        if demo.process.poll() is not None:
            raise AssertionError(f"it ended with {demo.process.returncode}:\n{demo.log.read_text()}")
        try:
            if all(demo.visitor().get(prefix).status == 200 for prefix in prefixes):
                return
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"no answer within {START_SECONDS} s:\n{demo.log.read_text()}")
        time.sleep(0.1)


def is_root() -> bool:
    return os.geteuid() == 0
