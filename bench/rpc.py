"""Remote calls behind nginx: calls per second, and processor time of the back end for a call.

One worker each, connections to the back end kept where it can. nginx and the load generator share one processor, the
back end has the other: where nginx is what limits the rate, the processor time says what a call costs. "Added" is that
less a constant answer of the same server: what the call itself costs.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

from frontends import Nginx
from measuring import Settings, describe, facts, generate, last_words, notes, processors, quotient, spread, start_all
from peers import BENCH, NATIVE, Peer
from remote import RESULT, result_of
from servers import Server
from toolchain import compile_program, peer_python, tell

NAME = "rpc"

_JSONRPC = '{"jsonrpc":"2.0","id":17,"method":"usage","params":["sda",3]}'
_REST = '{"disk":"sda","depth":3}'
_XML = (
    "<?xml version='1.0'?><methodCall><methodName>usage</methodName><params><param><value><string>sda</string></value>"
    "</param><param><value><int>3</int></value></param></params></methodCall>"
)
_PINNED = {
    "fastapi": "fastapi==0.165.0",
    "uvicorn": "uvicorn==0.54.0",
    "uvloop": "uvloop==0.23.0",
    "httptools": "httptools==0.9.0",
    "Flask": "Flask==3.1.3",
    "gunicorn": "gunicorn==27.0.1",
    "jsonrpcserver": "jsonrpcserver==5.0.9",
}
"""Versions that are installed for this section."""


@dataclass(frozen=True)
class Caller:
    """A back end, what is posted to it, and the name of the row that serves a constant answer in the same way.

    `bare` is its own name for that row itself.
    """

    peer: Peer
    bare: str
    body: str = ""
    content_type: str = "application/json"

    @property
    def is_ours(self) -> bool:
        return self.peer.name.startswith("fastcore")


def _python(*packages: str) -> Any:
    return lambda: peer_python(*(_PINNED[name] for name in packages))


def _uvicorn(name: str, label: str, application: str, *packages: str) -> Peer:
    options = ("--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools")
    arguments = ("-m", "uvicorn", "--uds", "{path}", "--app-dir", str(BENCH), *options, *application.split())
    return Peer(
        name,
        label,
        _python("uvicorn", "uvloop", "httptools", *packages),
        arguments,
        package=packages[0] if packages else "uvicorn",
        protocol="http",
    )


def _gunicorn(name: str, label: str, application: str, package: str, *, keeps: bool) -> Peer:
    worker = ("--worker-class", "gthread", "--threads", "1", "--keep-alive", "75") if keeps else ()
    arguments = ("-m", "gunicorn", "--bind", "{address}", "--workers", "1", *worker, "--chdir", str(BENCH))
    packages = dict.fromkeys(("gunicorn", package))
    return Peer(
        name,
        label,
        _python(*(each for each in packages if each in _PINNED)),
        (*arguments, application),
        package=package if package in _PINNED else "",
        keeps=keeps,
        protocol="http",
    )


def _ours(name: str, label: str, application: str) -> Peer:
    return replace(NATIVE, name=name, label=label, arguments=(*NATIVE.arguments[:-1], application))


_PEER = _ours("fastcore-rpc", "**framework.rpc** on fastcore", "remote_proxy:application")
_XMLRPC = f"import sys; sys.path.insert(0, {str(BENCH)!r}); from remote import serve_xmlrpc; serve_xmlrpc({{path!r}})"
OURS = Caller(_PEER, "fastcore-bare", _JSONRPC)
CALLERS = [
    OURS,
    Caller(_ours("fastcore-bare", "**fastcore**, native", "remote:bare_native"), "fastcore-bare"),
    Caller(
        _uvicorn("fastapi-uvicorn", "FastAPI, uvicorn (uvloop, httptools)", "--factory remote:fastapi_app", "fastapi"),
        "uvicorn-bare",
        _REST,
    ),
    Caller(_uvicorn("uvicorn-bare", "uvicorn alone", "remote:bare_asgi"), "uvicorn-bare"),
    Caller(
        _gunicorn("flask-gunicorn", "Flask, gunicorn (gthread)", "remote:flask_app()", "Flask", keeps=True),
        "gunicorn-bare",
        _REST,
    ),
    Caller(
        _gunicorn("flask-gunicorn-sync", "Flask, gunicorn (sync)", "remote:flask_app()", "Flask", keeps=False),
        "gunicorn-sync-bare",
        _REST,
    ),
    Caller(
        _gunicorn(
            "jsonrpcserver-gunicorn",
            "jsonrpcserver, gunicorn (gthread)",
            "remote:jsonrpcserver_app()",
            "jsonrpcserver",
            keeps=True,
        ),
        "gunicorn-bare",
        _JSONRPC,
    ),
    Caller(
        _gunicorn("xmlrpc-gunicorn", "xmlrpc, gunicorn (gthread)", "remote:xmlrpc_app()", "xmlrpc", keeps=True),
        "gunicorn-bare",
        _XML,
        "text/xml",
    ),
    Caller(
        Peer(
            "xmlrpc-server",
            "xmlrpc.server",
            peer_python,
            ("-c", _XMLRPC),
            keeps=False,
            protocol="http",
        ),
        "",
        _XML,
        "text/xml",
    ),
    Caller(
        _gunicorn("gunicorn-bare", "gunicorn alone (gthread)", "remote:bare_wsgi", "gunicorn", keeps=True),
        "gunicorn-bare",
    ),
    Caller(
        _gunicorn("gunicorn-sync-bare", "gunicorn alone (sync)", "remote:bare_wsgi", "gunicorn", keeps=False),
        "gunicorn-sync-bare",
    ),
]
"""In the order of the table."""


class CallNginx(Nginx):
    """The same nginx, with an answer of its own at /nginx/: more than that no back end can have."""

    def configure(self) -> str:
        own = "        location = /nginx/ { default_type application/json; return 200 '{\"result\": 1}'; }\n"
        text = super().configure()
        return text.replace("        location /", own + "        location /", 1)


def measure(settings: Settings) -> dict[str, Any]:
    """All back ends in turns."""
    program = compile_program("httpload")
    measured: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        chosen = {peer.name for peer in settings.chosen(caller.peer for caller in CALLERS)}
        callers = {caller.peer.name: caller for caller in CALLERS if caller.peer.name in chosen}
        servers, missing = start_all([caller.peer for caller in callers.values()], stack)
        front = stack.enter_context(CallNginx(servers, processors()[1]))
        expected = {server.peer.name: first_answer(front, callers[server.peer.name]) for server in servers}
        for number in range(settings.rounds):
            tell(f"  round {number + 1} of {settings.rounds}")
            for server in random.Random(number).sample(servers, len(servers)):
                name = server.peer.name
                found = measure_one(program, server, front, callers[name], expected[name], settings)
                measured.setdefault(name, []).append(found)
                told = f"{found['cpu_us']:>7.1f} us of processor time at {found['requests_per_second']:>8,.0f}/s"
                tell(f"    {name:26} {told}  {found['first_error']}")
            found = measure_one(program, None, front, OURS, b'{"result": 1}', settings)
            measured.setdefault("nginx", []).append(found)
        rows = make_rows([callers[server.peer.name] for server in servers], measured)
        limit = round(median(each["requests_per_second"] for each in measured["nginx"]), 1)
    return {"missing": missing, "rows": rows, "nginx_limit": limit, "versions": [Nginx.version()]}


def first_answer(front: Nginx, caller: Caller) -> bytes:
    """What the back end answers, looked at once: the load generator compares the rest with it."""
    with connection_to(front.path) as connection:
        head = {"Content-Type": caller.content_type, "Host": "console.example.org"}
        connection.request("POST", f"/{caller.peer.name}/", caller.body or _JSONRPC, head)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200 or (caller.body and result_of(body) != RESULT):
        raise RuntimeError(f"{caller.peer.name} answers {answer.status} {body[:200]!r}; {last_words(front)}")
    return body


@contextmanager
def connection_to(path: Path) -> Iterator[HTTPConnection]:
    """HTTP over a unix socket."""
    connection = HTTPConnection("console.example.org", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20)
    connection.sock.connect(str(path))
    try:
        yield connection
    finally:
        connection.close()


def measure_one(
    program: Path, server: Server | None, front: Nginx, caller: Caller, expected: bytes, settings: Settings
) -> dict[str, Any]:
    """Calls through nginx; without a server nginx answers by itself."""
    path = f"/{server.peer.name}/" if server else "/nginx/"
    command = [str(program), "-w", "0.05", "-t", str(settings.seconds), "-c", str(settings.connections)]
    command += ["-p", path, "-b", caller.body or _JSONRPC, "-y", caller.content_type, "-e", expected.decode()]
    command.append(front.address)
    found, used = generate(command, server or front)
    if not found:
        return {"requests_per_second": 0.0, "cpu_us": 0.0, "errors": 1, "first_error": last_words(front)}
    found["cpu_us"] = used * 1e6 / found["answered"] if found["answered"] else 0.0
    return found


def make_rows(callers: list[Caller], measured: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row for each back end that takes calls, with what the call adds to a constant answer of its server."""

    def cpu(name: str) -> float | None:
        rounds = measured.get(name, [])
        if not rounds or any(each["errors"] for each in rounds):
            return None
        return median(each["cpu_us"] for each in rounds)

    rows = []
    for caller in callers:
        name, rounds = caller.peer.name, measured.get(caller.peer.name, [])
        row: dict[str, Any] = describe(caller.peer)
        row["errors"] = sum(each["errors"] for each in rounds)
        row["first_error"] = next((each["first_error"] for each in rounds if each["first_error"]), "")
        row["bare"] = caller.bare == name
        own, bare = cpu(name), cpu(caller.bare)
        row["cpu_us"] = None if own is None else round(own, 2)
        row["added_us"] = None if own is None or bare is None or row["bare"] else round(own - bare, 2)
        row["spread"] = spread([each["cpu_us"] for each in rounds])
        row["requests_per_second"] = round(median(each["requests_per_second"] for each in rounds), 1)
        row["p99_us"] = round(median(each.get("latency_us", {}).get("p99", 0) for each in rounds), 1)
        rows.append(row)
    best = min((row["cpu_us"] for row in rows if is_other(row)), default=None)
    rate = max((row["requests_per_second"] for row in rows if is_other(row)), default=None)
    for row in rows:
        row["of_best_cpu"] = quotient(best, row["cpu_us"]) if best else None
        row["of_best_rate"] = quotient(row["requests_per_second"], rate) if rate else None
    return rows


def is_other(row: dict[str, Any]) -> bool:
    """Whether a row is another project's way to take calls, and was measured."""
    return not row["bare"] and not row["name"].startswith("fastcore") and row["cpu_us"] is not None


def render(result: dict[str, Any]) -> str:
    """The results as Markdown tables."""
    lines = [
        "| back end | CPU µs for a call | added by the call | calls/s | p99 µs | CPU: best other ÷ this "
        "| calls/s: this ÷ best other |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        name = f"{row['label']} {row['version']}".strip()
        if row["bare"]:
            name += ", a constant answer"
        if row["cpu_us"] is None:
            lines.append(f"| {name} | – | – | – | – | – | – |")
            continue
        added = "–" if row["added_us"] is None else f"{row['added_us']:.1f}"
        shares = [None if row["bare"] else row[key] for key in ("of_best_cpu", "of_best_rate")]
        ratios = " | ".join("–" if share is None else f"{share:.2f}" for share in shares)
        lines.append(
            f"| {name} | {row['cpu_us']:.1f} ± {row['spread'] * 100:.0f} % | {added} "
            f"| {row['requests_per_second']:,.0f} | {row['p99_us']:,.0f} | {ratios} |"
        )
    limit = f"{result['nginx_limit']:,.0f}"
    lines += ["", f"nginx answers {limit} of these calls a second by itself, without a back end."]
    settings = result["settings"]
    how = (
        f"{', '.join(result['versions'])}; {settings['connections']} HTTP connections, one worker, "
        f"medians of {settings['rounds']} rounds of {settings['seconds']:g} s"
    )
    return "\n".join([*lines, "", facts(result, how), *notes(result)])
