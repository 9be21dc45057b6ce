"""Is the front end ready: its program, its version, and its own opinion of the configuration made for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from fastcore.values import replace
from framework.frontends.servers import SERVERS, Server
from framework.site.certificates import CertificateError, examine, make_self_signed
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
    if server.name == "nginx":  # it binds its addresses to check them: such as everybody may bind
        tls = (Listen("127.0.0.1", 8443, tls=True),) if site.tls_port else ()
        site = replace(site, listen=Listen("127.0.0.1", 8080), also_listen=tls)
    with tempfile.TemporaryDirectory(prefix="sitectl-check-") as name:
        folder = Path(name)
        file = folder / f"{server.name}.conf"
        try:
            certificates = _usable_certificates(site, folder)
            places: dict[str, Any] = {"pid_file": folder / "pid", "upload_directory": folder}
            file.write_text(server.generate(site, **places, certificates=certificates))
        except (ValueError, CertificateError) as error:
            return [_problem(str(error))]
        status, output = run_briefly(list(server.check_command(program, file)))
    said = [line for line in output.splitlines() if line.strip()]
    lines = [re.sub(r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|nginx): ", "", line) for line in said]
    if status and not lines:
        lines = [f"exit status {status}"]
    said_by = f"{server.name} {server.check_options[0]}"
    level: Level = "error" if status else "warning"
    return [_problem(f"{said_by}: {line}", module_hint(line), level) for line in lines[:MAX_LINES]]


def module_hint(said: str) -> str:
    """What to install where lighttpd says that it lacks a module; "" where it says something else."""
    match = re.search(r"mod_(openssl|deflate)\.so", said)
    if match is None:
        return ""
    without = "; or write compression = false in each host" if match[1] == "deflate" else ""
    return f"apt-get install --no-install-recommends lighttpd-mod-{match[1]}{without}"


def _usable_certificates(site: Site, folder: Path) -> dict[str, tuple[Path, Path]]:
    """Those of the site; in the place of what is not good, or not the caller's to read, one that is made for this."""
    found = {}
    for host in site.hosts:
        if host.certificate is None or host.key is None:
            continue
        found[host.name] = (host.certificate, host.key)
        if any(remark.level == "error" or remark.key == "key" for remark in examine(*found[host.name], ())):
            found[host.name] = pair = (folder / "any.crt", folder / "any.key")
            if not pair[0].exists():
                make_self_signed(*pair, ["localhost"])
    return found


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
