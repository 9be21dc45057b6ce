"""Is the front end ready: its program, its version, and its own opinion of the configuration made for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from framework.frontends.servers import SERVERS, Server
from framework.site.problems import Level, Problem
from framework.site.schema import Listen, Site

PROGRAM_SECONDS: Final = 10.0
MAX_LINES: Final = 20
"""Lines of a server's complaint that are passed on."""
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_program(name: str) -> str | None:
    """A server's program, also where an ordinary account does not look (/usr/sbin)."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def check_frontend(site: Site) -> list[Problem]:
    """Whether the front end's program is there, new enough, and content with the configuration made for it."""
    server = SERVERS[site.frontend]
    program = find_program(server.name)
    if program is None:
        hint = f"apt-get install --no-install-recommends {server.package}; sitectl dev does without it"
        return [_problem(f"{server.name} is not installed", hint)]
    problems = []
    _, version_text = run_briefly([program, "-v"])
    match = re.search(r"/(\d+)\.(\d+)\.(\d+)", version_text)
    if match and tuple(map(int, match.groups())) < server.minimum_version:
        wanted = ".".join(map(str, server.minimum_version))
        reason = f"{server.name} is {'.'.join(match.groups())}, older than {wanted}"
        problems.append(_problem(reason, "its configuration may be refused", "warning"))
    return problems + validate_configuration(site, server, program)


def validate_configuration(site: Site, server: Server, program: str) -> list[Problem]:
    """What ``lighttpd -tt`` or ``nginx -t`` says about the configuration for `site`; empty where all is well."""
    if server.name == "nginx":  # it binds its address to check it: one that everybody may bind
        site = replace(site, listen=Listen("127.0.0.1", 8080))
    with tempfile.TemporaryDirectory(prefix="sitectl-check-") as name:
        folder = Path(name)
        file = folder / f"{server.name}.conf"
        try:
            file.write_text(server.generate(site, pid_file=folder / "pid", upload_directory=folder))
        except ValueError as error:
            return [_problem(str(error))]
        status, output = run_briefly(list(server.check_command(program, file)))
    said = [line for line in output.splitlines() if line.strip()]
    lines = [re.sub(r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|nginx): ", "", line) for line in said]
    if status and not lines:
        lines = [f"exit status {status}"]
    said_by = f"{server.name} {server.check_options[0]}"
    return [_problem(f"{said_by}: {line}", "", "error" if status else "warning") for line in lines[:MAX_LINES]]


def run_briefly(command: list[str]) -> tuple[int, str]:
    """Exit status and output (64 KiB of it) of a short-lived program that gets PROGRAM_SECONDS."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROGRAM_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, f"{command[0]}: {error}"
    return done.returncode, done.stdout[:65536].decode(errors="replace")


def _problem(reason: str, hint: str = "", level: Level = "error") -> Problem:
    return Problem("", "site.frontend", reason, hint, level=level)
