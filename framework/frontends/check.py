"""Is the front end ready: its program, its version, and its own opinion of the configuration made for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from framework.frontends import lighttpd
from framework.site.problems import Level, Problem
from framework.site.schema import Site

PROGRAM_SECONDS: Final = 10.0
MAX_LINES: Final = 20
"""Lines of a server's complaint that are passed on."""
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_program(name: str) -> str | None:
    """A server's program, also where an ordinary account does not look (/usr/sbin)."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def check_frontend(site: Site) -> list[Problem]:
    """Whether the front end's program is there, new enough, and content with the configuration made for it."""
    program = find_program(lighttpd.PROGRAM)
    if program is None:
        hint = f"apt-get install --no-install-recommends {lighttpd.PROGRAM}; sitectl dev does without it"
        return [_problem(f"{lighttpd.PROGRAM} is not installed", hint)]
    problems = []
    _, version_text = run_briefly([program, "-v"])
    match = re.search(r"/(\d+)\.(\d+)\.(\d+)", version_text)
    if match and tuple(map(int, match.groups())) < lighttpd.MINIMUM_VERSION:
        wanted = ".".join(map(str, lighttpd.MINIMUM_VERSION))
        reason = f"{lighttpd.PROGRAM} is {'.'.join(match.groups())}, older than {wanted}"
        problems.append(_problem(reason, "its configuration may be refused", "warning"))
    return problems + validate_configuration(site, program)


def validate_configuration(site: Site, program: str) -> list[Problem]:
    """What ``lighttpd -tt`` says about the configuration generated for `site`; empty where all is well."""
    with tempfile.TemporaryDirectory(prefix="sitectl-check-") as folder:
        file = Path(folder, "lighttpd.conf")
        file.write_text(lighttpd.generate(site, upload_directory=Path(folder)))
        status, output = run_briefly([program, "-tt", "-f", str(file)])
    lines = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: ", "", line) for line in output.splitlines() if line.strip()]
    if status and not lines:
        lines = [f"exit status {status}"]
    return [_problem(f"lighttpd -tt: {line}", "", "error" if status else "warning") for line in lines[:MAX_LINES]]


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


def _problem(reason: str, hint: str, level: Level = "error") -> Problem:
    return Problem("", "site.frontend", reason, hint, level=level)
