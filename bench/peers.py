"""The servers that are compared, as data: to add one is to add a row.

A row says how to start the server for an application. In its arguments `{address}` is unix:/path, `{path}` the bare
path, `{module}` and `{file}` the module of the application (its callables are `wsgi` and `native`), `{workers}` how
many processes serve; `inherits` servers get the listening socket as descriptor 0, as a web server spawns them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from toolchain import ROOT, compile_program, peer_python, peer_version

BENCH = ROOT / "bench"
_IMPORT = f"import sys; sys.path.insert(0, {str(BENCH)!r}); from {{module}} import wsgi; "


@dataclass(frozen=True)
class Peer:
    """One server in one configuration.

    prepare   gives the program to start, compiled or installed; raises Missing with what is not there
    protocol  what it speaks on its socket: fastcgi, http, uwsgi
    large     further arguments where bodies are large
    forks     whether `{workers}` may be more than 1
    note      what a reader of its numbers should know
    """

    name: str
    label: str
    prepare: Callable[[], Path]
    arguments: tuple[str, ...]
    package: str = ""
    inherits: bool = False
    keeps: bool = True
    protocol: str = "fastcgi"
    large: tuple[str, ...] = ()
    forks: bool = False
    note: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    module: str = "applications"
    workers: int = 1

    def command(self, path: Path) -> list[str]:
        """The command for a socket at `path`."""
        program = str(self.prepare())
        file = str(BENCH / f"{self.module}.py")
        values = {"address": f"unix:{path}", "path": str(path), "file": file}
        values |= {"module": self.module, "workers": str(self.workers)}
        return [program, *(part.format(**values) for part in self.arguments)]

    @property
    def version(self) -> str:
        """Its version, where it is a package."""
        return peer_version(self.package) if self.package else ""

    def with_large_bodies(self) -> Peer:
        """The same with the application of large bodies."""
        return replace(self, module="transfers", arguments=(*self.arguments, *self.large))


def this_python() -> Path:
    """The interpreter that runs this, with fastcore."""
    return Path(sys.executable)


@cache
def fastcore_has(option: str) -> bool:
    """Whether `python -m fastcore` has this option."""
    told = subprocess.run([sys.executable, "-m", "fastcore", "--help"], capture_output=True, text=True, cwd=ROOT)
    return option in told.stdout


def _fastcore(interface: str, twin: str, suffix: str = "", label: str = "", large: tuple[str, ...] = ()) -> Peer:
    what = "WSGI" if interface == "wsgi" else interface
    switch = {"compiled": "FASTCORE_REQUIRE_COMPILED", "pure": "FASTCORE_PURE"}[twin]
    name = "**fastcore**" if twin == "compiled" else "fastcore's pure twin"
    serve = ("-m", "fastcore", "--bind", "{address}", "--interface", interface, "--workers", "{workers}")
    return Peer(
        name=f"fastcore-{twin}-{interface}{suffix}",
        label=f"{name}, {what}{label}",
        prepare=this_python,
        arguments=(*serve, f"{{module}}:{interface}"),
        environment={switch: "1", "PYTHONPATH": f"{BENCH}:{ROOT}"},
        large=("--limit", f"body={1 << 40}", *large),
        forks=True,
    )


def _asynchronous(event_loop: str) -> Peer:
    serve = ("-m", "fastcore", "--bind", "{address}", "--interface", "native", "--workers", "{workers}")
    return Peer(
        name=f"fastcore-compiled-{event_loop}",
        label=f"**fastcore**, native, `async def` in {event_loop}",
        prepare=this_python,
        arguments=(*serve, "--event-loop", event_loop, "{module}:asynchronous"),
        environment={"FASTCORE_REQUIRE_COMPILED": "1", "PYTHONPATH": f"{BENCH}:{ROOT}"},
        forks=True,
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


def _uwsgi(name: str, label: str, socket: tuple[str, ...], **options: object) -> Peer:
    return Peer(
        name,
        label,
        lambda: peer_python("uWSGI").parent / "uwsgi",
        (
            *(*socket, "{path}", "--wsgi-file", "{file}", "--callable", "wsgi", "--processes", "{workers}"),
            *("--disable-logging", "--die-on-term", "--listen", "100", "--need-app"),
        ),
        package="uWSGI",
        keeps=False,
        forks=True,
        **options,  # type: ignore[arg-type]
    )


NATIVE = _fastcore("native", "compiled")
WSGI = _fastcore("wsgi", "compiled")
PURE_NATIVE = _fastcore("native", "pure")
PURE_WSGI = _fastcore("wsgi", "pure")
UWSGI = _uwsgi("uwsgi", "uWSGI (C), WSGI", ("--fastcgi-socket",), note="keeps no FastCGI connections")
UWSGI_OWN = _uwsgi(
    "uwsgi-own", "uWSGI (C), WSGI, own protocol", ("--socket",), protocol="uwsgi", note="keeps no connections"
)
LIBFCGI = Peer(
    "libfcgi",
    "libfcgi (C)",
    lambda: compile_program("libfcgi_hello", "fcgi"),
    (),
    inherits=True,
    note="answers one connection at a time",
)
FLUP_PREFORK = _python_peer(
    "flup-prefork",
    "flup, prefork",
    "flup",
    "from flup.server.fcgi_fork import WSGIServer; WSGIServer(wsgi, bindAddress={path!r}).run()",
)
FLUP_THREADED = _python_peer(
    "flup-threaded",
    "flup, threaded",
    "flup",
    "from flup.server.fcgi import WSGIServer; WSGIServer(wsgi, bindAddress={path!r}).run()",
)
BJOERN = _python_peer(
    "bjoern", "bjoern (C, HTTP)", "bjoern", "import bjoern; bjoern.run(wsgi, {address!r})", protocol="http"
)
GUNICORN = Peer(
    "gunicorn",
    "gunicorn (HTTP)",
    lambda: peer_python("gunicorn"),
    ("-m", "gunicorn", "--bind", "{address}", "--workers", "{workers}", "--chdir", str(BENCH), "{module}:wsgi"),
    package="gunicorn",
    keeps=False,
    protocol="http",
    forks=True,
    note="has a parent process beside its workers",
)

HELLO = [
    Peer("floor", "floor: epoll in C, constant answer", lambda: compile_program("floor"), ("{address}",)),
    NATIVE,
    WSGI,
    _asynchronous("uvloop"),
    _asynchronous("asyncio"),
    PURE_NATIVE,
    PURE_WSGI,
    LIBFCGI,
    UWSGI,
    FLUP_PREFORK,
    FLUP_THREADED,
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
"""One small page. In the order of the table; the first is what the others are measured against."""
PEERS = HELLO


def transfer_peers() -> list[Peer]:
    """Large bodies."""
    ours = [WSGI, NATIVE]
    if fastcore_has("--stream-body"):
        streams = ("--stream-body",)
        ours = [
            _fastcore("wsgi", "compiled", "-streamed", ", body as it arrives", streams),
            WSGI,
            NATIVE,
            _fastcore("wsgi", "pure", "-streamed", ", body as it arrives", streams),
        ]
    floor = Peer("floor", "floor: read() and writev() in C", lambda: compile_program("floor_transfer"), ("{address}",))
    libfcgi = replace(LIBFCGI, prepare=lambda: compile_program("libfcgi_transfer", "fcgi"))
    rows = [floor, *ours, PURE_WSGI, libfcgi, UWSGI, FLUP_PREFORK, FLUP_THREADED]
    return [replace(row.with_large_bodies(), note="") for row in rows]


FLUP_SIZED = _python_peer(
    "flup-prefork",
    "flup, prefork",
    "flup",
    "from flup.server.fcgi_fork import WSGIServer; "
    "WSGIServer(wsgi, bindAddress={path!r}, minSpare={workers}, maxSpare={workers}, maxChildren={workers}).run()",
    forks=True,
    note="has a parent process beside its workers",
)

MEMORY = [NATIVE, WSGI, PURE_WSGI, UWSGI, FLUP_SIZED, BJOERN, GUNICORN]
FRONTS = [NATIVE, WSGI, UWSGI, UWSGI_OWN, BJOERN, FLUP_PREFORK, FLUP_THREADED]
STARTUP = [NATIVE, WSGI, PURE_WSGI, UWSGI, FLUP_PREFORK, FLUP_THREADED, BJOERN, GUNICORN]
