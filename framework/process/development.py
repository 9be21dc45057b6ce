"""A site for one developer: back ends as ordinary children, the gateway in front of them, and an eye on the sources.

No privileges are separated here and no web server runs; `sitectl dev` says so. Each back end's listener outlives the
process behind it, so that requests wait while it starts again. Everything lies in one private run directory, which the
caller removes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from framework.process.child import Child
from framework.process.health import EXITS_OF_CONFIGURATION
from framework.process.launcher import FIRST_LISTEN_FD, LaunchError, sealed_file
from framework.process.logs import Output
from framework.process.parts import URLS_FD, PartsError, backend_part
from framework.process.privileges import PrivilegeError
from framework.process.runfiles import kill_session
from framework.process.sandbox import SandboxError
from framework.process.sources import MAX_FILES, Stamp, lies_below, source_files, stamp
from framework.process.spec import spec_of
from framework.process.view import ViewError

if TYPE_CHECKING:
    from framework.frontends.gateway import Gateway, Trouble
    from framework.site.schema import Backend, Site

__all__ = ["Development", "development_site", "http_server", "open_listener"]

POLL_SECONDS: Final = 0.5
"""Pause between two looks at the sources; longer where a look takes long."""
STOP_SECONDS: Final = 3.0
"""Seconds that a back end may take to end; then it is killed."""
MAX_DETAIL_LINES: Final = 60
"""Lines of a back end's output shown in the page that tells why it does not run."""


def development_site(site: Site, run_directory: Path, state_directory: Path) -> Site:
    """The site with all files in these folders, one worker for each back end, accounts that need no setup, no TLS."""
    user, group = _account()
    backends = {
        name: replace(backend, workers=1, state_directory=state_directory / name, user=user, group=group, groups=())
        for name, backend in site.backends.items()
    }
    hosts = tuple(
        replace(host, certificate=None, key=None, https_redirect=False, hsts_max_age=0) for host in site.hosts
    )
    site = replace(site, listen=replace(site.listen, tls=False), also_listen=(), hosts=hosts, backends=backends)
    return replace(site, run_directory=run_directory, state_directory=state_directory, development=True)


def _account() -> tuple[str, str]:
    """User and group that the back ends run as: the caller; for root, as nothing of theirs may be root, who called
    sudo, else nobody.
    """
    import grp
    import pwd

    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        name = os.environ.get("SUDO_USER", "root")
        account = pwd.getpwnam("nobody" if name == "root" else name)
        uid, gid = account.pw_uid, account.pw_gid
    try:
        return pwd.getpwuid(uid).pw_name, grp.getgrgid(gid).gr_name
    except KeyError:  # a container's caller need not be in /etc/passwd; then nothing looks the names up
        return str(uid), str(gid)


def _make_state_directory(backend: Backend) -> None:
    """The folder for what a back end stores: 0700, its user's."""
    import pwd

    backend.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        account = pwd.getpwnam(backend.user)
        os.chown(backend.state_directory, account.pw_uid, account.pw_gid)


def open_listener(site: Site) -> socket.socket:
    """The socket for HTTP. Raises OSError."""
    family = socket.AF_INET6 if ":" in site.listen.address else socket.AF_INET
    return socket.create_server((site.listen.address, site.listen.port), family=family, backlog=128)


class Development:
    """One run of `sitectl dev`.

    reload      reads the site file again; may raise SiteError and OSError
    kept_state  folder for what the back ends store, for people; None where it goes with the run directory

    >>> asyncio.run(Development(site, reload=load).serve(open_listener(site)))  # doctest: +SKIP
    """

    def __init__(self, site: Site, *, reload: Callable[[], Site], kept_state: Path | None = None) -> None:
        self._site = site
        self._reload = reload
        self._kept_state = kept_state
        self._output = Output()
        self._backends: dict[str, DevelopmentBackend] = {}
        self._gateway: Gateway | None = None
        self._noted: set[str] = set()

    async def serve(self, listener: socket.socket) -> int:
        """Serve until a signal says to stop. Returns the exit status."""
        from framework.frontends.gateway import Gateway

        seen = self._look()
        try:
            self._start_backends()
            self._gateway = Gateway(self._site, self._addresses(), trouble=self._trouble_of, report=self._say)
            server = http_server(self._gateway)
            _stop_on_signals(server)
            watching = asyncio.create_task(self._watch(seen))
            self._announce()
            try:
                await server.serve(sockets=[listener])
            finally:
                watching.cancel()
                await asyncio.wait((watching,))
        finally:
            await self._stop_backends()
            self._output.drain(1.0)
        self._say(f"stopped; state is in {self._kept_state}" if self._kept_state else "stopped, nothing is left")
        return 0

    def _say(self, text: str) -> None:
        self._output.write("dev", None, text)

    # --- back ends

    def _start_backends(self) -> None:
        for folder in (self._site.sockets_directory, self._site.urls_directory, self._site.run_directory / "notify"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        for name, backend in self._site.backends.items():
            _make_state_directory(backend)
            self._backends[name] = DevelopmentBackend(self._site, name, self._output)
            self._backends[name].start()

    async def _stop_backends(self) -> None:
        await asyncio.gather(*(backend.stop() for backend in self._backends.values()))
        for backend in self._backends.values():
            backend.close()
        self._backends.clear()

    def _addresses(self) -> dict[str, str]:
        return {name: f"unix:{self._site.socket_path(name)}" for name in self._site.backends}

    def _trouble_of(self, name: str) -> Trouble | None:
        from framework.frontends.gateway import Trouble

        backend = self._backends.get(name)  # none while the whole site starts again
        return backend.trouble if backend is not None else Trouble(f"The back end “{name}” is not started yet.")

    # --- changes

    async def _watch(self, seen: dict[str, Stamp]) -> None:
        while True:
            started = time.monotonic()
            now = self._look()
            changed = {file for file in seen.keys() | now.keys() if seen.get(file) != now.get(file)}
            seen, site = now, self._site
            try:
                await self._on_change(changed)
            except OSError as error:
                self._say(f"cannot start again: {error}")
            if self._site is not site:
                seen = self._look()
            await asyncio.sleep(max(POLL_SECONDS, 10 * (time.monotonic() - started)))

    def _look(self) -> dict[str, Stamp]:
        folders = {str(folder) for backend in self._site.backends.values() for folder in backend.path}
        found, complete = source_files(sorted(folders))
        if not complete:
            self._note_once(f"only the first {MAX_FILES} files below {', '.join(sorted(folders))} are watched")
        with suppress(OSError):
            found[str(self._site.file)] = stamp(os.stat(self._site.file))
        return found

    def _note_once(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._say(text)

    async def _on_change(self, changed: set[str]) -> None:
        if str(self._site.file) in changed:
            await self._reload_site()
            return
        for name, backend in list(self._backends.items()):
            own = sorted(file for file in changed if lies_below(file, self._site.backends[name].path))
            if own:
                more = f" and {len(own) - 1} more" if len(own) > 1 else ""
                self._say(f"{own[0]}{more} changed: {name} starts again")
                await backend.stop()
                backend.start()

    async def _reload_site(self) -> None:
        from framework.site import SiteError

        try:
            site = self._reload()
        except (SiteError, OSError) as error:
            self._say(f"the site file has mistakes; the site goes on as it was:\n{error}")
            return
        if site.listen != self._site.listen:
            self._say(f"the new address {site.listen} takes a new start of 'sitectl dev'")
        self._say("the site file has changed: everything starts again")
        await self._stop_backends()
        self._site = replace(site, listen=self._site.listen)
        self._start_backends()
        if self._gateway is not None:
            await self._gateway.close()
            self._gateway.use(self._site, self._addresses())
        self._announce()

    # --- news

    def _announce(self) -> None:
        from framework.process.summary import urls_of

        user = _account()[0]
        state = str(self._kept_state) if self._kept_state else "a temporary folder, gone at the end (--state keeps it)"
        lines = [
            "",
            f"development server for the site {self._site.name}; not for production:",
            f"  no privilege separation: every back end runs as {user}, and can read what the others store",
            "  no lighttpd: a gateway in Python answers HTTP",
            f"  one worker for each back end; errors are shown in the browser; state is in {state}",
            *(f"  open {url}" for url in urls_of(self._site)),
            "  sources are watched; stop with Ctrl-C",
            "",
        ]
        for line in lines:
            self._output.line(line)


class Recorder(Output):
    """Passes lines on, and keeps the last of them for the page that tells what went wrong."""

    def __init__(self, output: Output) -> None:
        self.lines: deque[str] = deque(maxlen=MAX_DETAIL_LINES)
        self._to = output

    def write(self, name: str, pid: int | None, text: str, level: str = "info") -> None:
        self.lines.append(text)
        self._to.write(name, pid, text, level)


class DevelopmentBackend:
    """One back end: its listener, which outlives the process behind it so that no request is refused meanwhile."""

    def __init__(self, site: Site, name: str, output: Output) -> None:
        self._site = site
        self._name = name
        self._output = output
        self._said = Recorder(output)
        self._loop = asyncio.get_running_loop()
        self._listener = _unix_listener(site.socket_path(name))
        self._child: Child | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._starting_again: asyncio.TimerHandle | None = None
        self.trouble: Trouble | None = None

    def start(self) -> None:
        """Start the process. What goes wrong becomes the `trouble`."""
        self.trouble = None
        self._cancel_start()
        spec = spec_of(self._site, self._name, allow_uids=(os.getuid(),), urls_fd=URLS_FD)
        self._said.lines.clear()
        try:
            part = backend_part(self._site, self._site.backends[self._name])
        except (PartsError, PrivilegeError, SandboxError, ViewError) as error:
            self._cannot_start(error)
            return
        child = Child(part, self._said, self._watch, self._forget)
        health, self._child = child.health, child
        self._ended = self._loop.create_future()
        spec_end = sealed_file("spec", json.dumps(spec).encode())
        table_end = child.expect_table(self._site.urls_path(self._name))
        variables = {"NOTIFY_SOCKET": child.open_notify(self._site.run_directory / "notify" / f"{self._name}.sock")}
        descriptors = {0: spec_end, FIRST_LISTEN_FD: self._listener.fileno(), URLS_FD: table_end}
        try:
            child.start(child.part.launch(descriptors, (self._name,), variables))
        except (LaunchError, OSError) as error:
            child.close()
            self._child = None
            self._cannot_start(error)
            return
        finally:
            os.close(spec_end)
            os.close(table_end)
        pidfd = os.pidfd_open(health.pid)
        self._loop.add_reader(pidfd, self._on_end, child, pidfd)

    def _cannot_start(self, error: Exception) -> None:
        from framework.frontends.gateway import Trouble

        self.trouble = Trouble(f"The back end “{self._name}” cannot be started: {error}")
        self._output.write(self._name, None, f"cannot be started: {error}")
        self._refuse_waiting()

    def _forget(self, number: int) -> None:
        self._loop.remove_reader(number)

    def _watch(self, number: int, act: Callable[[], object]) -> None:
        self._loop.add_reader(number, act)

    async def stop(self) -> None:
        """End the process and everything that it started."""
        self._cancel_start()
        child = self._child
        if child is None:
            return
        child.health.enter("stopping", time.time())
        child.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.shield(self._ended)
        if not self._ended.done():
            child.kill()
            await self._ended

    def close(self) -> None:
        """Close the listener; after `stop`."""
        self._listener.close()
        self._site.socket_path(self._name).unlink(missing_ok=True)

    def _on_end(self, child: Child, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        pid = child.health.pid
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        kill_session(pid)
        stopping = child.health.state == "stopping"
        child.close()
        self._child = None
        if not stopping:
            self._on_failure(child, status)
        self._ended.set_result(None)

    def _on_failure(self, child: Child, status: int) -> None:
        """It ended by itself: tell why in page and terminal, and try again when something has changed, or soon."""
        from framework.frontends.gateway import Trouble

        detail = "\n".join(self._said.lines)
        child.health.ended(status, time.monotonic(), time.time())
        reason = child.health.last_error
        waits = status in EXITS_OF_CONFIGURATION
        again = "it starts again when a file changes" if waits else "it starts again in a second"
        self._output.write("dev", None, f"back end {self._name}: {reason}; {again}")
        self.trouble = Trouble(f"The back end “{self._name}” does not run: {reason}", detail)
        self._refuse_waiting()
        if not waits:
            self._starting_again = self._loop.call_later(1.0, self.start)

    def _refuse_waiting(self) -> None:
        """Close the connections that wait for a process that will not come: the gateway then tells the trouble."""
        with suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()

    def _cancel_start(self) -> None:
        if self._starting_again is not None:
            self._starting_again.cancel()
            self._starting_again = None


def _unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with suppress(FileNotFoundError):
        path.unlink()
    listener.bind(str(path))
    listener.listen(128)
    return listener


def http_server(gateway: Gateway) -> Any:
    """uvicorn, quiet, trusting no header, its signals left to us."""

    import uvicorn

    class Server(uvicorn.Server):
        def capture_signals(self) -> Any:
            return nullcontext()

    return Server(
        uvicorn.Config(
            gateway,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=256,
            timeout_graceful_shutdown=2,
        )
    )


def _stop_on_signals(server: Any) -> None:
    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
