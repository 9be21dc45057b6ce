"""Real front ends of Debian's packages before a fastcore server, for tests: each unprivileged, on a port of its own.

Their configurations are those of docs/front-ends.md, read from there; only ports and paths are other ones here.
A front end is one entry of FRONT_ENDS, by its name on the page: what it cannot do. AUTHORIZERS are those of the page
that need an authorizer besides.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "front-ends.md"
SERVER = ["-m", "fastcore", "--bind", "fd:0", "--path", str(ROOT / "tests" / "support")]
BODY_LIMIT = 24_000_000
UNPRIVILEGED = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def page_blocks() -> dict[str, str]:
    """The configurations of the page: "```LANGUAGE NAME" begins one."""
    blocks = re.findall(r"^```(\w+)(?: ([\w-]+))?\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    names = [name for _, name, _ in blocks]
    assert all(names), f"one has no name: {names}"
    assert len(set(names)) == len(names), f"a name comes twice: {names}"
    return {name: text for _, name, text in blocks}


CONFIGURATIONS = page_blocks()


@dataclass(frozen=True)
class FrontEnd:
    """One way to configure one program.

    `header` is the longest request header in bytes that is tested, `streams_down` whether each piece of an answer
    arrives when made, `chunks` how many kB of a body without a length it takes (any number where None) and `too_long`
    what a longer one gets, `told_length` what the application finds in CONTENT_LENGTH of one of 60 kB,
    `restarts_posts` whether a restart behind it loses no POST either, `notices_leaving` whether an answer whose client
    has gone is ended, `tells_broken` whether its client sees that an answer without a Content-Length was broken off,
    `spawns` whether it starts the application by itself.
    """

    name: str
    header: int = 70_000
    streams_down: bool = True
    chunks: int | None = None
    too_long: int = 0
    told_length: str | None = "60000"
    restarts_posts: bool = True
    notices_leaving: bool = True
    tells_broken: tuple[str, ...] = ("/late", "/late-big")
    spawns: bool = False
    configuration: str = ""

    def __post_init__(self) -> None:
        if not self.configuration:
            object.__setattr__(self, "configuration", CONFIGURATIONS[self.name])

    @property
    def command(self) -> str:
        """The first line of the configuration."""
        return self.configuration.partition("\n")[0].removeprefix("# ")

    @property
    def program(self) -> str:
        return self.command.split()[0]

    def configure(self, text: str, folder: Path, port: int, others: Mapping[str, str]) -> str:
        """The text with this folder and port in the place of those of the page."""
        places = {
            "/run/app.sock": str(folder / "app.sock"),
            "/run/web": str(folder / "run"),
            "/srv/app": str(folder),
            "app.conf": str(folder / "configuration"),
            "8080": str(port),
            **others,
        }
        return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], text)


class Site:
    """A front end and the fastcore server behind it, both running; everything in a temporary folder."""

    def __init__(
        self,
        front_end: FrontEnd,
        environment: Mapping[str, str],
        twin: str,
        interface: str = "native",
        body_limit: int = BODY_LIMIT,
        options: Sequence[str] = (),
        places: Mapping[str, str] | None = None,
        application: str = "",
    ) -> None:
        """`places`: what else of the page's text is to be replaced, by what."""
        self.front_end = front_end
        self.interface = interface
        self._server = [*SERVER, "--interface", interface, "--limit", f"body={body_limit}", *options]
        self._server.append(application or ("applications:native" if interface == "native" else "applications:table"))
        self.twin = twin
        self._places = places or {}
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="fe-"))
        self.folder.chmod(0o755)
        self.shared = self.folder / "shared"  # where the application writes
        for directory in (self.folder / "run", self.shared):
            directory.mkdir()
            directory.chmod(0o777)
        self._log_path = self.folder / "log"
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._listener = socket.socket(socket.AF_UNIX)
        self._process: subprocess.Popen[bytes] | None = None
        self.back_ends: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Site:
        path = self.folder / "app.sock"
        self._listener.bind(str(path))
        path.chmod(0o666)  # the folder is this test's own
        self._listener.listen(1024)
        try:
            if self.front_end.spawns:
                self._write_script()
            else:
                self.start_back_end()
            self._start_front_end()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        processes = [process for process in (self._process, *self.back_ends) if process is not None]
        for process in processes:
            stop(process)
        self._listener.close()
        shutil.rmtree(self.folder)

    @property
    def log(self) -> str:
        paths = [self._log_path, *(self.folder / "run").glob("error.log")]
        return "".join(path.read_text("utf-8", "replace") for path in paths)

    def start_back_end(self) -> subprocess.Popen[bytes]:
        """One more fastcore server on the same listener."""
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self._server], stdin=self._listener, stdout=log, stderr=log, env=self._environment
            )
        self.back_ends.append(process)
        return process

    def _write_script(self) -> None:
        """What a front end runs that starts its applications by itself."""
        kept = ("FASTCORE_PURE", "FASTCORE_REQUIRE_COMPILED", "PYTHONPATH")
        lines = [f"export {name}='{self._environment[name]}'" for name in kept if name in self._environment]
        script = self.folder / "app.fcgi"
        script.write_text("\n".join(["#!/bin/sh", *lines, f"exec {sys.executable} {' '.join(self._server)}", ""]))
        script.chmod(0o755)

    def _start_front_end(self) -> None:
        command, configuration = (
            self.front_end.configure(text, self.folder, self.port, self._places)
            for text in (self.front_end.command, self.front_end.configuration)
        )
        (self.folder / "configuration").write_text(configuration)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                shlex.split(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder / "run",
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder / "run")},
                **UNPRIVILEGED,
            )
        deadline = time.monotonic() + 30
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.front_end.name} does not listen:\n{self.log}")
            time.sleep(0.02)

    def _is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_ALL = (
    FrontEnd("nginx", header=60_000, streams_down=False),
    FrontEnd("nginx-kept", header=60_000, told_length=""),
    FrontEnd("lighttpd", header=60_000, streams_down=False, notices_leaving=False, tells_broken=()),
    FrontEnd("lighttpd-streaming", header=60_000, chunks=0, too_long=411, tells_broken=("/late-big",)),
    FrontEnd("haproxy", header=60_000, chunks=60, too_long=400),
    FrontEnd("haproxy-multiplexed", header=60_000, chunks=60, too_long=400, notices_leaving=False),
    FrontEnd("apache", header=16_000, streams_down=False, told_length=None),
    FrontEnd("apache-kept", header=16_000, restarts_posts=False, told_length=None),
    FrontEnd("caddy", header=60_000, tells_broken=(), told_length="-1"),
    FrontEnd("h2o", tells_broken=()),
    FrontEnd("fcgid", header=16_000, spawns=True, tells_broken=()),
)
FRONT_ENDS = {front_end.name: front_end for front_end in _ALL}
AUTHORIZERS = {name: FrontEnd(name) for name in ("lighttpd-authorizer", "apache-authorizer")}
