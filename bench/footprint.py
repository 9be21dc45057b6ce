"""What a small machine pays for two pages: start, memory, processes, and what goes on while nobody asks.

    python bench/footprint.py             measure; writes bench/results/footprint.json and docs/benchmarks.md
    python bench/footprint.py --quick     one short round; writes nothing
    python bench/footprint.py --only ours gunicorn

Ours is the demo: supervisor, lighttpd and two back ends with one worker each, each with a user of its own, which needs
root: users are made, and removed again. Beside it two applications with one small page each, one worker each: Flask
below gunicorn and below uWSGI, and PHP-FPM (two pools), all behind nginx. Nothing is asked while idleness is measured.
PSS is what the kernel says in smaps_rollup, of all processes together; wake-ups are context switches of all threads.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from memory import memory_of
from toolchain import (
    RESULTS,
    ROOT,
    Missing,
    end_by_signals,
    machine_facts,
    peer_python,
    peer_version,
    tell,
    write_byte_code,
)

PAGE = ROOT / "docs" / "benchmarks.md"
RESULT_FILE = RESULTS / "footprint.json"
SEARCHED = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
START_SECONDS = 60.0
ASKED = 100
"""Requests to each page before memory is read."""
START_LIMIT, MEMORY_LIMIT = 1.0, 40e6
"""What the demo may need to its first answer, in seconds, and of memory, in bytes."""

SITE = """\
[site]
name = "{name}"
listen = "127.0.0.1:{port}"
run_directory = "{directory}/run"
state_directory = "{directory}/state"

[[host]]
name = "console.localhost"
aliases = ["localhost", "127.0.0.1"]
default = true
static = "{demo}/static"
backends = ["status", "notes"]

[backend.status]
application = "appliance.status.application:app"
user = "{name}-status"
path = ["{demo}"]
read = ["/proc", "/sys"]

[backend.notes]
application = "appliance.notes.application:app"
user = "{name}-notes"
path = ["{demo}"]
read = ["/proc"]
"""
FLASK = """\
from flask import Flask

app = Flask(__name__)


@app.get("/{name}/")
def index():
    return "<!doctype html><title>{name}</title><h1>{name}</h1>"
"""
NGINX = """\
daemon off; user root; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
{locations}
    }}
}}
"""
PHP_FPM = """\
[global]
error_log = {directory}/php.log
daemonize = no
"""
PHP_POOL = """\
[{name}]
user = nobody
group = nogroup
listen = {directory}/{name}.sock
listen.mode = 0666
pm = static
pm.max_children = 1
"""
NAMES = ("status", "notes")
IDLE = ("wake-ups", "processor ms", "written kB")


@dataclass(frozen=True)
class Stack:
    """A way to serve the two pages: `start` gets a directory and a port and returns the commands to run."""

    name: str
    label: str
    start: Callable[[Path, int], list[list[str]]]
    remove: Callable[[Path], None] = lambda directory: None


def ours(directory: Path, port: int) -> list[list[str]]:
    if os.geteuid():
        raise Missing("root, for a user for each part")
    program("lighttpd")
    name = f"bench-{os.urandom(3).hex()}"
    site = directory / "site.toml"
    site.write_text(SITE.format(name=name, port=port, directory=directory, demo=ROOT / "examples" / "appliance"))
    sitectl("setup", str(site))
    return [[sys.executable, "-m", "framework.cli", "run", str(site)]]


def remove_ours(directory: Path) -> None:
    sitectl("remove", str(directory / "site.toml"), "--yes")


def sitectl(*arguments: str) -> None:
    result = subprocess.run([sys.executable, "-m", "framework.cli", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise Missing(f"sitectl {arguments[0]}: {(result.stdout + result.stderr).strip()[:300]}")


def gunicorn(directory: Path, port: int) -> list[list[str]]:
    python = peer_python("gunicorn")
    commands = [nginx(directory, port, "proxy_pass http://unix:{socket};")]
    for name, file in flask_applications(directory):
        bind = f"unix:{directory / name}.sock"
        commands.append(
            [
                str(python),
                "-m",
                "gunicorn",
                "--workers",
                "1",
                "--bind",
                bind,
                "--chdir",
                str(directory),
                f"{file.stem}:app",
            ]
        )
    return commands


def uwsgi(directory: Path, port: int) -> list[list[str]]:
    python = peer_python("uwsgi")
    commands = [nginx(directory, port, f"include {parameters(directory, 'uwsgi_param')}; uwsgi_pass unix:{{socket}};")]
    for name, file in flask_applications(directory):
        base = [str(python.parent / "uwsgi"), "--master", "--processes", "1", "--need-app", "--disable-logging"]
        base += ["--die-on-term", "--no-orphans"]  # else SIGTERM starts it again
        where = ["--socket", f"{directory / name}.sock", "--chmod-socket=666", "--chdir", str(directory)]
        commands.append([*base, *where, "--module", f"{file.stem}:app", "--virtualenv", str(python.parent.parent)])
    return commands


def php(directory: Path, port: int) -> list[list[str]]:
    found = sorted(path for folder in ("/usr/sbin", "/usr/local/sbin") for path in Path(folder).glob("php-fpm*"))
    if not found:
        raise Missing("php-fpm (Debian: apt-get install php-fpm)")
    configuration = directory / "php-fpm.conf"
    pools = "".join(PHP_POOL.format(name=name, directory=directory) for name in NAMES)
    configuration.write_text(PHP_FPM.format(directory=directory) + pools)
    for name in NAMES:
        (directory / f"{name}.php").write_text(f"<!doctype html><title>{name}</title><h1><?= '{name}' ?></h1>")
    script = f"fastcgi_param SCRIPT_FILENAME {directory}/{{name}}.php;"
    given = f"include {parameters(directory, 'fastcgi_param')}; {script} fastcgi_pass unix:{{socket}};"
    front = nginx(directory, port, given)
    return [front, [str(found[0]), "--nodaemonize", "--fpm-config", str(configuration)]]


def flask_applications(directory: Path) -> Iterator[tuple[str, Path]]:
    """The two applications, written into the directory."""
    peer_python("flask")
    for name in NAMES:
        file = directory / f"{name}_app.py"
        file.write_text(FLASK.format(name=name))
        yield name, file


def parameters(directory: Path, directive: str) -> Path:
    """What nginx tells a back end, as its packages have it."""
    file = directory / directive
    pairs = {
        "REQUEST_METHOD": "$request_method",
        "QUERY_STRING": "$query_string",
        "CONTENT_TYPE": "$content_type",
        "CONTENT_LENGTH": "$content_length",
        "REQUEST_URI": "$request_uri",
        "PATH_INFO": "$document_uri",
        "SERVER_PROTOCOL": "$server_protocol",
        "REMOTE_ADDR": "$remote_addr",
        "SERVER_PORT": "$server_port",
        "SERVER_NAME": "$server_name",
    }
    file.write_text("".join(f"{directive} {name} {value};\n" for name, value in pairs.items()))
    return file


def nginx(directory: Path, port: int, handing_on: str) -> list[str]:
    """nginx with a location for each page; `{socket}` and `{name}` are filled in."""
    locations = "\n".join(
        f"        location /{name}/ {{ {handing_on.format(socket=directory / (name + '.sock'), name=name)} }}"
        for name in NAMES
    )
    file = directory / "nginx.conf"
    file.write_text(NGINX.format(directory=directory, port=port, locations=locations))
    return [program("nginx"), "-c", str(file), "-e", str(directory / "nginx.log")]


def program(name: str) -> str:
    found = shutil.which(name, path=SEARCHED)
    if found is None:
        raise Missing(f"{name} (Debian: apt-get install {name})")
    return found


STACKS = (
    Stack("ours", "**the demo**: `sitectl run`, lighttpd", ours, remove_ours),
    Stack("gunicorn", "Flask, gunicorn, nginx", gunicorn),
    Stack("uwsgi", "Flask, uWSGI, nginx", uwsgi),
    Stack("php", "PHP-FPM, nginx", php),
)


@contextmanager
def serving(stack: Stack) -> Iterator[tuple[int, list[int], float]]:
    """Start a stack; yields port, process ids of what was started, and seconds to the first answer of both pages."""
    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    directory.chmod(0o755)
    port = free_port()
    started: list[subprocess.Popen[bytes]] = []
    commands: list[list[str]] = []
    try:
        commands = stack.start(directory, port)
        with (directory / "log").open("wb") as log:
            begun = time.monotonic()
            for command in commands:
                started.append(
                    subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory, start_new_session=True
                    )
                )
            await_answers(port, started, directory / "log")
        yield port, [process.pid for process in started], time.monotonic() - begun
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):  # what it has left behind
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if commands:
            stack.remove(directory)
        shutil.rmtree(directory, ignore_errors=True)


def await_answers(port: int, started: list[subprocess.Popen[bytes]], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    waiting = list(NAMES)
    while waiting:
        with suppress(OSError, http.client.HTTPException):
            if ask(port, waiting[0]) == 200:
                del waiting[0]
                continue
        if any(process.poll() is not None for process in started) or time.monotonic() > give_up:
            raise Missing(f"it does not start: {log.read_text(errors='replace').strip()[-300:]}")
        time.sleep(0.005)


def ask(port: int, name: str) -> int:
    """The status of a page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", f"/{name}/")
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(roots: list[int]) -> list[int]:
    """These processes and all below them."""
    parents = {}
    for entry in os.listdir("/proc"):
        with suppress(OSError, ValueError):
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
    found = list(roots)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def activity(pids: list[int]) -> dict[str, float]:
    """Context switches, processor seconds and bytes written, so far."""
    sums = {"switches": 0.0, "seconds": 0.0, "written": 0.0}
    for pid in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                for line in (task / "status").read_text().splitlines():
                    if "ctxt_switches:" in line:
                        sums["switches"] += int(line.split()[1])
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            sums["seconds"] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            for line in Path(f"/proc/{pid}/io").read_text().splitlines():
                if line.startswith("write_bytes:"):
                    sums["written"] += int(line.split()[1])
    return sums


def measure_once(stack: Stack, idle_seconds: float) -> dict[str, float]:
    with serving(stack) as (port, roots, seconds):
        for name in NAMES:
            for _ in range(ASKED):
                ask(port, name)
        pids = descendants(roots)
        memory = memory_of(pids)
        time.sleep(1)
        before = activity(pids)
        time.sleep(idle_seconds)
        after = activity(pids)
    minutes = idle_seconds / 60
    return {
        "start": seconds,
        "pss": memory["pss"],
        "processes": memory["processes"],
        "wakeups": (after["switches"] - before["switches"]) / minutes,
        "idle_cpu": (after["seconds"] - before["seconds"]) / minutes,
        "written": (after["written"] - before["written"]) / minutes,
    }


def measure(stacks: list[Stack], rounds: int, idle_seconds: float) -> dict[str, Any]:
    rows: dict[str, list[dict[str, float]]] = {}
    missing: dict[str, str] = {}
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for stack in stacks:
            if stack.name in missing:
                continue
            try:
                found = measure_once(stack, idle_seconds)
            except Missing as error:
                missing[stack.name] = str(error)
                tell(f"    {stack.name:10} left out: {error}")
                continue
            rows.setdefault(stack.name, []).append(found)
            tell(f"    {stack.name:10} {found['start']:.2f} s to both pages, {found['pss'] / 1e6:.1f} MB")
    medians = {
        name: {key: median(found[key] for found in measured) for key in measured[0]} for name, measured in rows.items()
    }
    versions = {package: peer_version(package) for package in ("flask", "gunicorn", "uwsgi")}
    settings = {
        "rounds": rounds,
        "idle_seconds": idle_seconds,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return {"settings": settings, "facts": machine_facts(), "versions": versions, "missing": missing, "rows": medians}


def render(result: dict[str, Any]) -> str:
    """The table, beside what was to be reached, as Markdown."""
    heads = ("first answers after s", "PSS MB", "processes", *(f"{what} a minute, idle" for what in IDLE))
    lines = [f"| two pages served by | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
    for stack in STACKS:
        row = result["rows"].get(stack.name)
        if row is not None:
            lines.append(
                f"| {stack.label} | {row['start']:.2f} | {row['pss'] / 1e6:.1f} | {row['processes']:.0f} "
                f"| {row['wakeups']:.0f} | {row['idle_cpu'] * 1000:.0f} | {row['written'] / 1000:.0f} |"
            )
    demo = result["rows"].get("ours")
    if demo is not None:
        reached = "yes" if demo["start"] <= START_LIMIT else "**no**"
        small = "yes" if demo["pss"] <= MEMORY_LIMIT else "**no**"
        lines += [
            "",
            f"To reach: first answer ≤ {START_LIMIT:g} s ({reached}), memory ≤ {MEMORY_LIMIT / 1e6:g} MB ({small}).",
        ]
    facts, settings = result["facts"], result["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version)
    lines += [
        "",
        f"{facts['processor']}, {facts['processors']} processors, Python {facts['python']}; {versions}; medians of "
        f"{settings['rounds']} rounds, {settings['idle_seconds']:g} s of idleness each; load of the machine before: "
        f"{facts['load']}; {settings['date']}.",
    ]
    lines += [f"Left out: {name}: {reason}." for name, reason in result["missing"].items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of {' '.join(stack.name for stack in STACKS)}")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each (5)")
    parser.add_argument("--idle", type=float, default=20.0, metavar="SECONDS", help="of idleness in each round (20)")
    parser.add_argument("--quick", action="store_true", help="one round, 3 s of idleness; nothing is written")
    arguments = parser.parse_args()
    chosen = [stack for stack in STACKS if not arguments.only or stack.name in arguments.only]
    if not chosen:
        parser.error(f"--only: none of {', '.join(stack.name for stack in STACKS)}")
    end_by_signals()
    write_byte_code()
    partial = arguments.quick or arguments.only
    result = measure(chosen, 1 if arguments.quick else arguments.rounds, 3.0 if arguments.quick else arguments.idle)
    text = render(result)
    print(text)
    if not partial:
        RESULT_FILE.write_text(json.dumps(result, indent=1) + "\n")
        put_into_page(text)
    return 0


def put_into_page(text: str) -> None:
    """Between the marks in the page."""
    begin, end = "<!-- footprint:begin -->", "<!-- footprint:end -->"
    page = PAGE.read_text()
    head, _, rest = page.partition(begin)
    PAGE.write_text(f"{head}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


if __name__ == "__main__":
    sys.exit(main())
