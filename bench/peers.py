"""The servers that are compared, as data: to add one is to add a row.

A row says how to start the server for the constant page of `applications`. `{address}` in its command is unix:/path,
`{path}` the bare path; `inherits` servers get the listening socket as descriptor 0, as a web server spawns them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from toolchain import ROOT, compile_program, peer_python, peer_version

BENCH = ROOT / "bench"
_IMPORT = f"import sys; sys.path.insert(0, {str(BENCH)!r}); from applications import wsgi; "


@dataclass(frozen=True)
class Peer:
    """One server in one configuration.

    prepare  gives the program to start, compiled or installed; raises Missing with what is not there
    note     what a reader of its numbers should know
    """

    name: str
    label: str
    prepare: Callable[[], Path]
    arguments: tuple[str, ...]
    package: str = ""
    inherits: bool = False
    keeps: bool = True
    note: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, path: Path) -> list[str]:
        """The command for a socket at `path`."""
        program = str(self.prepare())
        return [program, *(part.format(address=f"unix:{path}", path=str(path)) for part in self.arguments)]

    @property
    def version(self) -> str:
        """Its version, where it is a package."""
        return peer_version(self.package) if self.package else ""


def _this_python() -> Path:
    return Path(sys.executable)


def _fastcore(interface: str, twin: str) -> Peer:
    what = "WSGI" if interface == "wsgi" else interface
    switch = {"compiled": "FASTCORE_REQUIRE_COMPILED", "pure": "FASTCORE_PURE"}[twin]
    return Peer(
        name=f"fastcore-{twin}-{interface}",
        label=f"**fastcore**, {what}" if twin == "compiled" else f"fastcore's pure twin, {what}",
        prepare=_this_python,
        arguments=("-m", "fastcore", "--bind", "{address}", "--interface", interface, f"applications:{interface}"),
        environment={switch: "1", "PYTHONPATH": f"{BENCH}:{ROOT}"},
    )


def _python_peer(name: str, label: str, package: str, code: str, **options: object) -> Peer:
    return Peer(
        name,
        label,
        lambda: peer_python(package),
        ("-c", _IMPORT + code),
        package=package,
        **options,  # type: ignore[arg-type]
    )


PEERS = [
    Peer("floor", "floor: epoll in C, constant answer", lambda: compile_program("floor"), ("{address}",)),
    _fastcore("native", "compiled"),
    _fastcore("wsgi", "compiled"),
    _fastcore("native", "pure"),
    _fastcore("wsgi", "pure"),
    Peer(
        "libfcgi",
        "libfcgi (C)",
        lambda: compile_program("libfcgi_hello", "fcgi"),
        (),
        inherits=True,
        note="answers one connection at a time",
    ),
    Peer(
        "uwsgi",
        "uWSGI (C), WSGI",
        lambda: peer_python("uWSGI").parent / "uwsgi",
        (
            *("--fastcgi-socket", "{path}", "--wsgi-file", str(BENCH / "applications.py"), "--callable", "wsgi"),
            *("--processes", "1", "--disable-logging", "--die-on-term", "--listen", "100", "--need-app"),
        ),
        package="uWSGI",
        keeps=False,
        note="keeps no FastCGI connections",
    ),
    _python_peer(
        "flup-prefork",
        "flup, prefork",
        "flup",
        "from flup.server.fcgi_fork import WSGIServer; WSGIServer(wsgi, bindAddress={path!r}).run()",
    ),
    _python_peer(
        "flup-threaded",
        "flup, threaded",
        "flup",
        "from flup.server.fcgi import WSGIServer; WSGIServer(wsgi, bindAddress={path!r}).run()",
    ),
    _python_peer(
        "flipflop", "flipflop", "flipflop", "from flipflop import WSGIServer; WSGIServer(wsgi).run()", inherits=True
    ),
    _python_peer(
        "gevent-fastcgi",
        "gevent-fastcgi",
        "gevent-fastcgi",
        "from gevent_fastcgi.server import FastCGIServer; from gevent_fastcgi.wsgi import WSGIRequestHandler; "
        "FastCGIServer({path!r}, WSGIRequestHandler(wsgi)).serve_forever()",
    ),
    _python_peer(
        "fcgisgi",
        "fcgisgi",
        "fcgisgi",
        "import asyncio; from fcgisgi import run_wsgi_server; "
        "asyncio.run(run_wsgi_server(wsgi, bind_address={path!r}))",
    ),
]
"""In the order of the table; the first is what the others are measured against."""
