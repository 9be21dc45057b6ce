"""The front end as the supervisor sees it: a file to write, a checker to run, a port to look at. No HTTP here."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from framework.process.launcher import LaunchError, start
from framework.process.parts import Part
from framework.process.runfiles import kill_session, write_file

if TYPE_CHECKING:
    from framework.site.schema import Listen, Site

__all__ = ["FrontendError", "accepts", "check_port_is_free", "graceful_end", "graceful_reload", "write_configuration"]

CHECK_TIMEOUT = 10.0
"""Seconds that the front end's own checker may take."""

MAX_CHECK_OUTPUT = 65536


class FrontendError(Exception):
    """The port is taken, or the front end refuses its configuration; the text holds its own words."""


def check_port_is_free(listen: Listen) -> None:
    """Raises FrontendError where the address cannot be bound, with the reason."""
    family = socket.AF_INET6 if ":" in listen.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen.address, listen.port))
        except OSError as error:
            hint = (
                "another program listens there: stop it, or choose another with --listen"
                if error.errno == 98
                else "choose another with --listen"
            )
            raise FrontendError(f"cannot listen on {listen}: {error.strerror}; {hint}") from None


def accepts(listen: Listen) -> bool:
    """Whether somebody takes connections there now. Never waits for long: the address is this machine's own."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.address, listen.address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((address, listen.port)) == 0


def write_configuration(site: Site, part: Part) -> bool:
    """Generate the front end's configuration into the run directory and have the front end check it, as its own user.

    Only one that it takes comes into the place of the old; whether it differs from that is returned. Raises
    FrontendError with what it said.
    """
    from framework.frontends.servers import SERVERS

    server, file = SERVERS[site.frontend], site.frontend_configuration
    try:
        text = server.generate(site)
    except ValueError as error:
        raise FrontendError(f"{site.file}: {error}") from None
    data = text.encode(errors="surrogateescape")
    if file.exists() and file.read_bytes() == data:
        return False
    draft = file.with_name(f"next-{file.name}")
    write_file(draft, data, 0o644)
    try:
        status, said = _run_checker(replace(part, argv=server.check_command(part.argv[0], draft)))
        if status != 0:
            raise FrontendError(f"{site.frontend} refuses the configuration made from {site.file}: {said}")
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)
    return True


def graceful_end(site: Site) -> signal.Signals:
    """The signal after which the site's front end finishes its requests and ends."""
    from framework.frontends.servers import SERVERS

    return SERVERS[site.frontend].graceful_end


def graceful_reload(site: Site) -> signal.Signals:
    """The signal after which the site's front end reads its configuration again, without losing a request."""
    from framework.frontends.servers import SERVERS

    return SERVERS[site.frontend].graceful_reload


def _run_checker(part: Part) -> tuple[int, str]:
    try:
        started = start(part.launch({}, (), {}))
    except LaunchError as error:
        raise FrontendError(f"{part.name} cannot be started: {error}") from None
    deadline = time.monotonic() + CHECK_TIMEOUT
    said = dict.fromkeys((started.output, started.errors), b"")
    poller = select.poll()
    for number in said:
        poller.register(number, select.POLLIN)
    open_ends = len(said)
    while open_ends and (left := deadline - time.monotonic()) > 0:
        for number, _ in poller.poll(left * 1000):
            data = os.read(number, 4096)
            said[number] = (said[number] + data)[:MAX_CHECK_OUTPUT]
            if not data:
                poller.unregister(number)
                open_ends -= 1
    if open_ends:
        kill_session(started.pid)
    _, status = os.waitpid(started.pid, 0)
    for number in said:
        os.close(number)
    text = b"\n".join(said.values()).decode("utf-8", "replace").strip()
    return os.waitstatus_to_exitcode(status), text if not open_ends else f"no answer within {CHECK_TIMEOUT:g} s"
