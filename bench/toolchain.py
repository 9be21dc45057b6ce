"""What the benchmarks need around them: C programs compiled on use, other servers in an environment of their own, and
the facts about the machine that a number means nothing without.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "bench" / "native"
BUILD = NATIVE / "build"
RESULTS = ROOT / "bench" / "results"
PEERS_VENV = ROOT / ".venv-peers"


class Missing(Exception):
    """What a peer needs is not on this machine; the text says what."""


def compile_program(name: str, *libraries: str) -> Path:
    """bench/native/NAME.c as a program, compiled when it is not there or older than its source. Raises Missing."""
    source, program = NATIVE / f"{name}.c", BUILD / name
    newest = max(file.stat().st_mtime for file in (source, *NATIVE.glob("*.h")))
    if program.exists() and program.stat().st_mtime >= newest:
        return program
    BUILD.mkdir(exist_ok=True)
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), *(f"-l{name}" for name in libraries)]
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise Missing("a C compiler (Debian: gcc libc6-dev)") from None
    if result.returncode:
        first = result.stderr.strip().splitlines()[0] if result.stderr.strip() else "it says nothing"
        raise Missing(f"{source.name} does not compile: {first}")
    return program


def peer_python(*packages: str) -> Path:
    """The interpreter of the peers' own environment, with these packages ("name", "name==version") in it.

    Raises Missing.
    """
    python = PEERS_VENV / "bin" / "python"
    if not python.exists():
        tell(f"making {PEERS_VENV.name} for the other servers")
        venv.create(PEERS_VENV, with_pip=True)
    lacking = [package for package in packages if not _is_installed(package)]
    if lacking:
        tell(f"installing {', '.join(lacking)} into {PEERS_VENV.name}")
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *lacking]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            reason = (result.stderr or result.stdout).strip().splitlines()[-1:]
            raise Missing(f"{' '.join(lacking)} cannot be installed: {' '.join(reason)[:200]}")
    return python


def _is_installed(package: str) -> bool:
    name, _, wanted = package.partition("==")
    found = peer_version(name)
    return bool(found) and wanted in ("", found)


def peer_version(package: str) -> str:
    """The version of a package in the peers' environment, "" where it is not installed."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    python = PEERS_VENV / "bin" / "python"
    if not python.exists():
        return ""
    result = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    return result.stdout.strip()


def write_byte_code() -> None:
    """Compile this checkout's modules, as the installation of a package does; without that a start compiles them all,
    and its process keeps the memory of that (1 MB). Also where the environment says PYTHONDONTWRITEBYTECODE.
    """
    folders = [str(ROOT / name) for name in ("fastcore", "framework", "examples", "bench")]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], check=True)


def end_by_signals() -> None:
    """SIGTERM (`timeout`) and SIGHUP end this process as ^C does: what it has started is ended first."""

    def end(number: int, _frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # once is enough
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, end)


def tell(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def machine_facts() -> dict[str, str | int]:
    """Processor, kernel and versions; nothing that names this machine or its user."""
    model = "unknown"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    facts: dict[str, str | int] = {
        "processor": model,
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "compiler": _first_line(["gcc", "--version"]),
        "load": f"{os.getloadavg()[0]:.2f}",
    }
    for package in ("fastcore-fcgi", "Cython"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def _first_line(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.partition("\n")[0]
    except OSError:
        return ""
