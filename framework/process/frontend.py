"""The front end as the supervisor sees it: a file to write, a checker to run, a port to look at. No HTTP here."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from fastcore.values import replace
from framework.process import tls
from framework.process.launcher import LaunchError, start
from framework.process.loading import LoadError, in_child
from framework.process.parts import Part
from framework.process.poller import Poller
from framework.process.runfiles import RunError, kill_session, write_file

if TYPE_CHECKING:
    from framework.site.schema import Listen, Site

__all__ = [
    "Check",
    "FrontendError",
    "accepts",
    "check_port_is_free",
    "graceful_end",
    "graceful_reload",
    "write_configuration",
]

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
    """Generate the front end's configuration and have the front end check it; waits for that. For the start.

    Only one that it takes comes into the place of the old; whether it differs from that is returned. Raises
    FrontendError with what it said.
    """
    check = Check(site, part)
    poller = Poller()
    ends: list[int] = []
    try:
        check.begin(poller.watch, poller.unwatch)
        if check.pid:
            ends.append(os.pidfd_open(check.pid))  # it may close its output and go on
            poller.watch(ends[0], lambda: poller.unwatch(ends[0]))
        if not poller.work_off(check.deadline):
            check.give_up()
    finally:
        poller.close()
        for number in ends:
            os.close(number)
    if check.pid:
        check.ended(os.waitstatus_to_exitcode(os.waitpid(check.pid, 0)[1]))
    return check.take()


class Check:
    """A new configuration of the front end, and its checker that reads it, as the front end's user, in its own time.

    `begin` starts it; `ended` is for who reaps it; then `take` puts the configuration into its place, with the pages
    that it names, or `drop` removes what was made for it.
    """

    def __init__(self, site: Site, part: Part) -> None:
        """Generate the configuration. Raises FrontendError where that is not possible."""
        from framework.frontends.pages import PageError, pages_of
        from framework.frontends.servers import SERVERS

        server, self._file = SERVERS[site.frontend], site.frontend_configuration
        self._site = site
        self._others = tls.present(site)
        try:
            self._pages = dict(pages_of(site))
            self._certificates = tls.place(site, part.privileges)
            text = in_child(lambda: server.generate(site, certificates=self._certificates))
        except (LoadError, PageError, RunError, ValueError, OSError) as error:
            tls.keep_only(site, self._others)
            raise FrontendError(f"{site.file}: {error}") from None
        self._data = text.encode(errors="surrogateescape")
        self._draft = site.frontend_draft
        self._part = replace(part, argv=server.check_command(part.argv[0], self._draft))
        self._complaint = f"{site.frontend} refuses the configuration made from {site.file}"
        self._said: dict[int, bytes] = {}
        self._unwatch: Callable[[int], object] = lambda _: None
        self._status = 0
        self.changed = not self._file.exists() or self._file.read_bytes() != self._data
        self.done = not self.changed
        self.pid = 0
        self.deadline = 0.0

    def begin(self, watch: Callable[[int, Callable[[], object]], object], unwatch: Callable[[int], object]) -> None:
        """Start the checker, where the configuration is another one. Raises FrontendError where it does not start."""
        if self.done:
            return
        try:
            write_file(self._draft, self._data, 0o644)
            started = start(self._part.launch({}, (), {}))
        except (LaunchError, OSError) as error:
            self.drop()
            raise FrontendError(f"{self._part.name} cannot be started: {error}") from None
        self.pid, self.deadline, self._unwatch = started.pid, time.monotonic() + CHECK_TIMEOUT, unwatch
        for number in (started.output, started.errors):
            self._said[number] = b""
            watch(number, partial(self.read, number))

    def read(self, number: int) -> bool:
        """Take what the checker says there; False when it has said all."""
        try:
            data = os.read(number, 4096)
        except BlockingIOError:
            return True
        self._said[number] = (self._said[number] + data)[:MAX_CHECK_OUTPUT]
        if not data:
            self._unwatch(number)
        return bool(data)

    def give_up(self) -> None:
        """It has taken too long, or nobody wants to know any more: end it."""
        if self.pid and not self.done:
            self.deadline = 0.0
            kill_session(self.pid)

    def ended(self, status: int) -> None:
        """The checker has been reaped."""
        for number in self._said:
            try:
                self._said[number] = (self._said[number] + os.read(number, MAX_CHECK_OUTPUT))[:MAX_CHECK_OUTPUT]
            except OSError:
                pass
            self._unwatch(number)
            os.close(number)
        self._status, self.done = status, True

    def take(self) -> bool:
        """Put the configuration into the place of the old one; False where it is no other. Raises FrontendError."""
        try:
            if self.changed and self._status != 0:
                from framework.frontends.check import module_hint

                said = b"\n".join(self._said.values()).decode("utf-8", "replace").strip()
                late = not self.deadline
                said = f"no answer within {CHECK_TIMEOUT:g} s" if late else said
                raise FrontendError("\n".join(filter(None, (f"{self._complaint}: {said}", module_hint(said)))))
            self._place_pages()
            if self.changed:
                os.replace(self._draft, self._file)
        except BaseException:
            self.drop()
            raise
        tls.keep_only(self._site, tls.files_of(self._certificates))
        return self.changed

    def drop(self) -> None:
        """It does not come into use: remove the draft, and the keys that were copied for it alone."""
        self._draft.unlink(missing_ok=True)
        tls.keep_only(self._site, self._others)

    def _place_pages(self) -> None:
        """The pages that the front end shows by itself, for everybody to read."""
        folder = self._site.pages_directory
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)
        for name, content in self._pages.items():
            write_file(folder / name, content, 0o644)


def graceful_end(site: Site) -> signal.Signals:
    """The signal after which the site's front end finishes its requests and ends."""
    from framework.frontends.servers import SERVERS

    return SERVERS[site.frontend].graceful_end


def graceful_reload(site: Site) -> signal.Signals:
    """The signal after which the site's front end reads its configuration again, without losing a request."""
    from framework.frontends.servers import SERVERS

    return SERVERS[site.frontend].graceful_reload
