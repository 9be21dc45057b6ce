"""Start: from the command to the first right answer, memory then, and what importing costs.

Each server is started some times, alone, in turns with the others; a client asks it from the start on, every half
millisecond, until it answers.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Any

from applications import PAGE
from measuring import Settings, describe, facts, notes, spread
from memory import memory_of, parse_rollup
from peers import STARTUP, Peer, this_python
from servers import START_SECONDS, Server
from toolchain import ROOT, Missing, peer_python, tell, write_byte_code

NAME = "startup"
_ASK_AGAIN = 0.0005  # seconds

IMPORTS: list[tuple[str, str, Callable[[], Path]]] = [
    ("the interpreter alone", "pass", this_python),
    ("`import fastcore`", "import fastcore", this_python),
    (
        "all that `fastcore.serve` needs for WSGI",
        "from fastcore import implementation as i, serve; i.loop; import fastcore.wsgi; i.wsgi",
        this_python,
    ),
    ("the same, pure twin", "from fastcore import implementation as i, serve; i.loop; i.wsgi", this_python),
    ("flup's prefork server", "import flup.server.fcgi_fork", lambda: peer_python("flup")),
    ("flup's threaded server", "import flup.server.fcgi", lambda: peer_python("flup")),
    ("gunicorn's application", "import gunicorn.app.wsgiapp", lambda: peer_python("gunicorn")),
]


def measure(settings: Settings) -> dict[str, Any]:
    """Starts of each server and imports, in turns."""
    peers, missing = [], {}
    write_byte_code()
    for peer in settings.chosen(STARTUP):
        try:
            peer.prepare()
        except Missing as error:
            missing[peer.name] = str(error)
        else:
            peers.append(peer)
    times = 2 * settings.rounds + 1  # the first writes byte code, and is not counted
    started: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
    for number in range(times):
        tell(f"  start {number + 1} of {times}")
        for peer in random.Random(number).sample(peers, len(peers)):
            found = start_once(peer)
            if number or found["error"]:
                started[peer.name].append(found)
    rows = [_row(peer, started[peer.name]) for peer in peers]
    tell("  imports")
    return {"missing": missing, "rows": rows, "imports": measure_imports(times)}


def start_once(peer: Peer) -> dict[str, Any]:
    """Seconds to the first right answer, and memory of its processes then."""
    server = Server(peer)
    began = time.monotonic()
    try:
        server.start()
        while (answer := ask(server.path, peer.protocol)) is None:
            if server.process.poll() is not None or time.monotonic() - began > START_SECONDS:
                break
            time.sleep(_ASK_AGAIN)
        seconds = time.monotonic() - began
        wrong = "no answer" if answer is None else "" if PAGE in answer else "a wrong answer"
        return {"seconds": seconds, "error": wrong, **memory_of(server.pids())}
    finally:
        server.stop()


def ask(path: Path, protocol: str) -> bytes | None:
    """The whole answer of a server; None where it does not listen yet."""
    with socket.socket(socket.AF_UNIX) as sock, suppress(OSError):
        sock.settimeout(START_SECONDS)
        sock.connect(str(path))
        sock.sendall(REQUESTS[protocol])
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
            if PAGE in answer:  # some HTTP servers keep the connection whatever they are asked
                break
        return answer
    return None


def _fastcgi_request() -> bytes:
    pairs = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
    }
    pairs |= {"SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_URI": "/", "CONTENT_LENGTH": "0"}
    text = b"".join(bytes([len(key), len(value)]) + f"{key}{value}".encode() for key, value in pairs.items())
    records = [(1, b"\0\1\0\0\0\0\0\0"), (4, text), (4, b""), (5, b"")]
    return b"".join(bytes([1, kind, 0, 1, *divmod(len(content), 256), 0, 0]) + content for kind, content in records)


REQUESTS = {
    "fastcgi": _fastcgi_request(),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
}


def _row(peer: Peer, found: list[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = describe(peer)
    good = [each for each in found if not each["error"]]
    row["errors"] = len(found) - len(good)
    row["first_error"] = next((each["error"] for each in found if each["error"]), "")
    row["ms"] = round(median(each["seconds"] for each in good) * 1000, 1) if good else None
    row["spread"] = spread([each["seconds"] for each in good]) if good else 0.0
    row["pss"] = median(each["pss"] for each in good) if good else None
    row["rss"] = median(each["rss"] for each in good) if good else None
    return row


def measure_imports(times: int) -> list[dict[str, Any]]:
    """Milliseconds of processor time and memory of an interpreter that imports something and ends."""
    rows = []
    for label, code, python in IMPORTS:
        switch = "FASTCORE_PURE" if "pure" in label else "FASTCORE_REQUIRE_COMPILED"
        told = "; import sys; print(len(sys.modules)); print(open('/proc/self/smaps_rollup').read())"
        found, text = [], ""
        for number in range(times):
            try:
                command = [str(python()), "-c", f"{code}{told}"]
            except Missing:
                break
            before = getrusage(RUSAGE_CHILDREN)
            environment = {**os.environ, "PYTHONPATH": str(ROOT), switch: "1"}
            text = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment).stdout
            after = getrusage(RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            if number and text:
                found.append(used)
        if found:
            modules, _, rollup = text.partition("\n")
            rows.append(
                {"label": label, "ms": round(median(found) * 1000, 1), "modules": int(modules), **parse_rollup(rollup)}
            )
    return rows


def render(result: dict[str, Any]) -> str:
    """The results as two Markdown tables."""
    lines = ["| server | first answer after, ms | PSS then, MB | RSS, MB |", "|---|--:|--:|--:|"]
    for row in result["rows"]:
        name = f"{row['label']} {row['version']}".strip()
        if row["ms"] is None:
            lines.append(f"| {name} | – | – | – |")
            continue
        sizes = f"{row['pss'] / 1e6:.2f} | {row['rss'] / 1e6:.2f}"
        lines.append(f"| {name} | {row['ms']:.0f} ± {row['spread'] * 100:.0f} % | {sizes} |")
    lines += ["", "| importing | CPU ms | modules | private, MB | RSS, MB |", "|---|--:|--:|--:|--:|"]
    for row in result["imports"]:
        sizes = f"{row['private'] / 1e6:.2f} | {row['rss'] / 1e6:.2f}"
        lines.append(f"| {row['label']} | {row['ms']:.0f} | {row['modules']} | {sizes} |")
    how = f"medians of {2 * result['settings']['rounds']} starts with byte code written"
    return "\n".join(
        [*lines, "", facts(result, how), *notes({**result, "rows": [{**r, "note": ""} for r in result["rows"]]})]
    )
