"""A whole site run by the real `sitectl`: accounts of its own, a free port, a front end; removed without a trace."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ports import free_port

PATIENCE = 30.0  # seconds until an expected thing must have happened; never asserted, only given up after
_numbers = itertools.count(1)

APPLICATION = '''\
import os, signal, socket, subprocess, sys, time

def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/").replace("-", "_") or "whoami"
    text = globals()["do_" + name](environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode()]

def do_whoami(query):
    return f"{os.getuid()} {os.getpid()} {os.getppid()}"

def do_environment(query):
    return " ".join(f"{key}={value}" for key, value in sorted(os.environ.items()))

def do_descriptors(query):
    return " ".join(f"{number}:{link(number)}" for number in sorted(os.listdir("/proc/self/fd"), key=int))

def link(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}").replace(" ", "")
    except OSError:
        return "gone"

def do_read(path):
    return attempt(lambda: repr(open(path).read()[:60]))

def do_list(path):
    return attempt(lambda: " ".join(sorted(os.listdir(path))))

def do_write(path):
    return attempt(lambda: str(open(path, "w").write("x")))

def do_connect(path):
    def connect():
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(5)
            channel.connect(path)
            channel.sendall(bytes([1, 9, 0, 0, 0, 8, 0, 0]) + bytes(8))
            return "answered" if channel.recv(1) else "closed"
    return attempt(connect)

def do_kill(pid):
    return attempt(lambda: str(os.kill(int(pid), 0)))

def do_become(query):
    """Try every way back to root; then run a program."""
    said = []
    for name, arguments in (("setuid", (0,)), ("setgid", (0,)), ("setgroups", ([0],)), ("setresuid", (0, 0, 0))):
        said.append(attempt(lambda: str(getattr(os, name)(*arguments))))
    said.append(subprocess.run([query], capture_output=True, text=True).stdout.strip())
    return chr(10).join(said)

def do_securebits(query):
    import ctypes

    return str(ctypes.CDLL(None).prctl(27, 0, 0, 0, 0))  # PR_GET_SECUREBITS

def do_where(query):
    return os.getcwd()

def do_status(query):
    return open("/proc/self/status").read()

def do_run(query):
    """Run the program's text that the query holds in hexadecimal digits; what it puts into `said`."""
    names = dict(globals(), said=None)
    def action():
        exec(bytes.fromhex(query).decode(), names)
        return repr(names["said"])
    return attempt(action)

def do_print(query):
    query = query.replace("ESCAPE", chr(27))
    print(query, flush=True)
    print("error " + query, file=sys.stderr, flush=True)
    return "printed"

def do_flood(count):
    sys.stdout.write("flood\\n" * int(count))
    sys.stdout.flush()
    return "flooded"

def do_die(query):
    os._exit(3)

def do_sleep(seconds):
    open(os.environ["HOME"] + "/sleeping", "w").close()
    time.sleep(float(seconds))
    return "slept"

def do_scribble(byte):
    """Write over every page of a scoreboard that this process can reach; which these are."""
    import ctypes
    found = []
    for line in open("/proc/self/maps"):
        if "memfd:scoreboard" in line:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            ctypes.memset(start, int(byte), end - start)
            found.append(str(end - start))
    return " ".join(found)

def do_stray(query):
    """A daemon as the textbooks make one: forked twice, in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        os._exit(0)
    os.wait()
    return "astray"

def do_child(query):
    """A child in the session that ignores what it can ignore."""
    pid = os.fork()
    if pid == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(60)
    return str(pid)

def attempt(action):
    try:
        return action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
'''


def toml(value: Any) -> str:
    """A text, number, list of these, or table of texts as TOML."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(text)}" for key, text in value.items()) + " }"
    return json.dumps(value)


def eventually(what: str, test: Callable[[], Any]) -> Any:
    """The first true value that `test` gives; fails with `what` when it never does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"this never happened: {what}")
        time.sleep(0.02)


class RunningSite:
    """One site in a folder, with an application `appl.py` for all its back ends."""

    def __init__(
        self, folder: Path, *, python: str = sys.executable, environment: dict[str, str] | None = None
    ) -> None:
        self.name = f"t{os.getpid():x}-{next(_numbers)}"
        self.folder = folder
        self.file = folder / "site.toml"
        self.port = free_port()
        self.run_directory = Path("/run", self.name)
        self.state_directory = Path("/var/lib", self.name)
        self.python = python
        self.environment = environment or dict(os.environ)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log"
        self.backends: dict[str, dict[str, Any]] = {}
        self.site_keys: dict[str, Any] = {}
        self.host_keys: dict[str, Any] = {}
        (folder / "code").mkdir(exist_ok=True)
        (folder / "static").mkdir(exist_ok=True)
        (folder / "static" / "hello.txt").write_text("hello")
        self.write_code("appl.py", APPLICATION)

    def write_code(self, name: str, text: str) -> None:
        (self.folder / "code" / name).write_text(text)

    def add_backend(self, name: str, **keys: Any) -> None:
        user = f"{self.name}-{name}"
        self.backends[name] = {"application": "appl:app", "user": user, "group": user, "path": ["code"]} | keys

    def user_of(self, backend: str) -> str:
        return str(self.backends[backend]["user"])

    def write_site(self) -> None:
        site = {"name": self.name, "listen": f"127.0.0.1:{self.port}"} | self.site_keys
        host = {"name": "console.localhost", "default": True, "static": "static", "backends": list(self.backends)}
        host |= self.host_keys
        tables = [("[site]", site), ("[[host]]", host)]
        tables += [(f"[backend.{name}]", keys) for name, keys in self.backends.items()]
        lines = []
        for header, keys in tables:
            lines += [header, *(f"{key} = {toml(value)}" for key, value in keys.items()), ""]
        self.file.write_text("\n".join(lines))

    # ---- sitectl

    def command(self, *words: str) -> list[str]:
        return [self.python, "-m", "framework.cli", *words]

    def sitectl(self, command: str, *options: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(command, str(self.file), *options),
            **(
                {
                    "capture_output": True,
                    "text": True,
                    "timeout": 60,
                    "cwd": self.folder,
                    "env": self.environment,
                    "check": False,
                }
                | keywords
            ),
        )

    def setup(self) -> None:
        self.write_site()
        done = self.sitectl("setup")
        assert done.returncode == 0, done.stderr

    def start(self, *options: str, session: bool = False) -> None:
        """Start `sitectl run` and wait until the site is up; a session of its own has no terminal."""
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command("run", str(self.file), *options),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                cwd=self.folder,
                start_new_session=session,
            )
        eventually(
            f"the site is up; it said: {self.said()}",
            lambda: "  open http" in self.said() or self.process.poll() is not None,
        )
        assert self.process.poll() is None, self.said()

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()

    def remove(self) -> None:
        if self.process is not None:
            self.stop()
        done = self.sitectl("remove", "--yes")
        assert done.returncode == 0, done.stderr

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def status(self) -> dict[str, Any]:
        done = self.sitectl("status", "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def part(self, name: str) -> dict[str, Any]:
        return next(part for part in self.status()["parts"] if part["name"] == name)

    # ---- HTTP

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Host": "console.localhost"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def text(self, path: str) -> str:
        status, text = self.get(path)
        assert status == 200, (status, text, self.said())
        return text


@contextmanager
def running_site(site: RunningSite) -> Iterator[RunningSite]:
    """Set up, run and remove a site that has been described."""
    try:
        site.setup()
        site.start()
        yield site
    finally:
        site.remove()


def alive(pid: int) -> bool:
    try:
        return not re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return False


def open_folder(folder: Path) -> Path:
    """A new folder for a site that every user can reach, directly in the temporary directory of the run."""
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="site-"))
    made.chmod(0o755)
    return made


def discard(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
