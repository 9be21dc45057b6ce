"""The supervisor: root, single-threaded, and all that a site needs root for.

It binds the sockets, starts each part as its own user, watches, starts again, and ends all; it imports no
application, reads no HTTP, no FastCGI, and believes nothing that a child writes. Idle, it sleeps until something
happens. The order of things is in `run`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.process import control, linux, notify
from framework.process.child import Child
from framework.process.credentials import place as place_credentials
from framework.process.frontend import (
    FrontendError,
    accepts,
    check_port_is_free,
    graceful_end,
    graceful_reload,
    write_configuration,
)
from framework.process.launcher import FIRST_LISTEN_FD, LaunchError, sealed_file
from framework.process.logs import Output
from framework.process.parts import SCOREBOARD_FD, URLS_FD, Part, PartsError, frontend_privileges, parts_of
from framework.process.privileges import PrivilegeError, caller
from framework.process.reload import Reload, ReloadError
from framework.process.reload import plan as plan_reload
from framework.process.runfiles import RunDirectory, RunError, kill_session, notify_directory, restore
from framework.process.spec import spec_of
from framework.process.strays import end_strays

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["Supervisor"]

FRONTEND_GRACE = 7.0
BACKEND_GRACE = 10.0
"""Seconds to finish what is under way after the order to stop; then it is killed."""

PROBE_INTERVAL = 0.02
"""Seconds between looks whether the front end accepts connections, while it starts."""

OUTPUT_INTERVAL = 0.1
"""Seconds between attempts to write to a log whose reader takes nothing."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """One run of one site. Raises RunError, PartsError and FrontendError before anything is started.

    >>> Supervisor(site, Output()).run()
    0
    """

    def __init__(self, site: Site, output: Output, read_again: Callable[[], Site] | None = None) -> None:
        """`read_again` gives the site as its file is now, for a reload; without it there is none."""
        self.site = site
        self._read_again = read_again
        self._output = output
        self._run_directory = RunDirectory(site)
        self._poller = select.epoll()
        self._watched: dict[int, Callable[[], object]] = {}
        self._listeners: dict[str, socket.socket] = {}
        self._children: list[Child] = []
        self._reload: Reload | None = None
        self._retired: list[Child] = []  # of generations that have been replaced, finishing what they have begun
        self._generation = 1
        self._control: control.Server | None = None
        self._stopping = ""
        self._begun = time.monotonic()
        self._since = time.time()
        self._announced = False

    def run(self) -> int:
        """Start the site, stay until it is told to stop, leave nothing behind. Returns the exit code."""
        self._run_directory.take()
        try:
            self._catch_signals()
            self._end_leftovers()
            check_port_is_free(self.site.listen)
            self._run_directory.prepare(frontend_privileges(self.site))
            parts = parts_of(self.site)
            write_configuration(self.site, parts[0])
            linux.become_subreaper()
            loop = (self._answer, self._watch, self._unwatch)
            self._control = control.Server(self.site.control_path, *loop, self.site.control_group)
            self._children = [Child(part, self._output, self._watch, self._unwatch) for part in parts]
            for child in self._children[1:]:
                self._listener_of(child)
            for child in reversed(self._children):  # the back ends first: they take longest
                self._start(child)
            self._loop()
        finally:
            self._end_all()
        return 0

    def say(self, text: str) -> None:
        """A line of the supervisor's own."""
        self._output.write("supervisor", os.getpid(), text)

    # ---- the loop

    def _loop(self) -> None:
        while not (self._stopping and not any(child.health.running for child in self._everyone())):
            self._turn(self._next_deadline())

    def _turn(self, deadline: float | None) -> None:
        """Wait for the next event or the deadline, act on all that is due."""
        timeout = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
        for number, _ in self._poller.poll(timeout):
            act = self._watched.get(number)
            if act is not None:
                act()
        self._reap()
        self._act_on_time()

    def _everyone(self) -> list[Child]:
        """The children of all generations."""
        incoming = self._reload.incoming.values() if self._reload is not None else ()
        return [*self._children, *incoming, *self._retired]

    def _watch(self, number: int, act: Callable[[], object]) -> None:
        self._poller.register(number, select.EPOLLIN)
        self._watched[number] = act

    def _unwatch(self, number: int) -> None:
        if self._watched.pop(number, None) is not None:
            self._poller.unregister(number)

    def _next_deadline(self) -> float | None:
        times = [child.health.next_event for child in self._children]
        times += [child.health.deadline or None for child in self._everyone() if child not in self._children]
        times.append(self._control.next_deadline() if self._control is not None else None)
        if self._output.waiting:
            times.append(time.monotonic() + OUTPUT_INTERVAL)
        if any(self._is_starting_frontend(child) for child in self._children):
            times.append(time.monotonic() + PROBE_INTERVAL)
        return min((time for time in times if time is not None), default=None)

    def _act_on_time(self) -> None:
        now = time.monotonic()
        self._output.pump()
        for child in self._children:
            health = child.health
            if self._is_starting_frontend(child) and accepts(self.site.listen):
                health.became_ready(now, time.time())
            if health.deadline and now >= health.deadline:
                self._take_too_long(child)
            elif health.resting and now >= health.next_start:
                self._start(child)
        for child in self._everyone():
            if child not in self._children and child.health.deadline and now >= child.health.deadline:
                self._take_too_long(child)
        if self._reload is not None:
            self._go_on_reloading(self._reload)
        if self._control is not None:
            self._control.drop_slow(now)
        if self._stopping:
            self._stop_backends_after_frontend()
        else:
            self._announce()

    @staticmethod
    def _is_starting_frontend(child: Child) -> bool:
        return child.part.kind == "frontend" and child.health.state == "starting"

    def _take_too_long(self, child: Child) -> None:
        what = "was not ready in time" if child.health.state == "starting" else "did not end in time"
        if child.health.state == "starting":
            child.health.complaint = what
        self.say(f"{child.name} {what}: it is killed")
        child.health.deadline = 0.0
        child.kill()

    # ---- start

    def _start(self, child: Child) -> None:
        try:
            if child.part.kind == "backend":
                self._start_backend(child)
            else:
                child.start(child.part.launch({}, (), {}))
        except (LaunchError, RunError, OSError) as error:
            child.close()
            child.health.complaint = f"cannot be started: {error}"
            self._after_end(child, 1)
            return
        self._record(child)

    def _record(self, child: Child) -> None:
        rights = child.part.privileges
        self._run_directory.children.add(child.health.pid, rights.uid, rights.capabilities)

    def _start_backend(self, child: Child) -> None:
        listener = self._listener_of(child)
        notify_name = f"{child.name}.sock" if child.generation == 1 else f"{child.name}.{child.generation}.sock"
        variables = {"NOTIFY_SOCKET": child.open_notify(notify_directory(self.site) / notify_name)}
        backend = self._site_of(child).backends[child.name]
        if backend.credentials:
            folder = place_credentials(self.site, backend, child.part.privileges)
            variables["CREDENTIALS_DIRECTORY"] = str(folder)
        with ExitStack() as ours:
            spec = self._seal_spec(child)
            ours.callback(os.close, spec)
            table_end = child.expect_table(self._table_path(child))
            ours.callback(os.close, table_end)
            descriptors = {0: spec, FIRST_LISTEN_FD: listener.fileno(), URLS_FD: table_end}
            descriptors[SCOREBOARD_FD] = child.open_scoreboard(backend.workers)
            child.start(child.part.launch(descriptors, (child.name,), variables))

    def _table_path(self, child: Child) -> Path:
        """Where its URL table goes; that of a new generation beside the one in use."""
        path = self.site.urls_path(child.name)
        return path if child in self._children else path.with_name(f".{path.name}")

    def _listener_of(self, child: Child) -> socket.socket:
        listener = self._listeners.get(child.name)
        if listener is None or not restore(listener):
            if listener is not None:
                self.say(f"the socket of {child.name} was shut down by it: it gets a new one")
                listener.close()
            frontend = self._children[0].part.privileges
            listener = self._run_directory.bind(child.name, frontend.gid if frontend.switch else None)
            self._listeners[child.name] = listener
        return listener

    def _seal_spec(self, child: Child) -> int:
        frontend = self._children[0].part.privileges
        privileges = child.part.privileges.to_spec()
        numbers: dict[str, Any] = {"urls_fd": URLS_FD, "scoreboard_fd": SCOREBOARD_FD}
        site = self._site_of(child)
        spec = spec_of(site, child.name, allow_uids=(frontend.uid,), privileges=privileges, **numbers)
        return sealed_file("spec", json.dumps(spec).encode())

    def _site_of(self, child: Child) -> Site:
        """The site as it is, or as it will be when the generation of this child has taken over."""
        return self._reload.site if self._reload is not None and child not in self._children else self.site

    # ---- ends that nobody ordered

    def _reap(self) -> None:
        while (pid := _ended_child()) is not None:
            child = next((child for child in self._everyone() if child.health.pid == pid), None)
            if child is not None:
                kill_session(pid)  # before it is reaped: until then nobody else can be given its number
            _, status = os.waitpid(pid, 0)
            if child is not None:
                self._on_end(child, os.waitstatus_to_exitcode(status))

    def _on_end(self, child: Child, status: int) -> None:
        pid = child.health.pid
        self._kill_strays(child)
        child.close()
        self._run_directory.children.remove(pid)
        if self._stopping or child not in self._children:
            failed = child.health.state in ("starting", "ready")
            if failed:
                child.health.ended(status, time.monotonic(), time.time())
            child.health.pid, child.health.deadline = 0, 0.0
            child.health.enter("stopped", time.time())
            if child in self._retired:
                self._retired.remove(child)
            elif failed and self._reload is not None and child in self._reload.incoming.values():
                self._give_up_reload(self._reload, f"back end {child.name}: {child.health.last_error}")
        else:
            self._after_end(child, status)

    def _after_end(self, child: Child, status: int) -> None:
        now = time.monotonic()
        delay = child.health.ended(status, now, time.time())
        rest = f"it rests for {delay:g} s" if child.health.state == "failed" else f"starts again in {delay:g} s"
        self.say(f"{child.part.kind} {child.name}: {child.health.last_error}; {rest}")
        if child.health.state == "failed" and (self._reload is None or child.name not in self._reload.incoming):
            self._close_listener(child.name)

    def _close_listener(self, name: str) -> None:
        """Requests for a back end that rests get an error at once instead of waiting in its socket."""
        listener = self._listeners.pop(name, None)
        if listener is not None:
            listener.close()
            self.site.socket_path(name).unlink(missing_ok=True)

    def _kill_strays(self, child: Child | None) -> None:
        """What fled its session still descends from us: end what runs as this child's user, or all."""
        if child is None:
            end_strays(())
        else:
            others = [other.health.pid for other in self._everyone() if other is not child and other.health.pid]
            end_strays(others, child.part.privileges.uid)

    # ---- stop

    def _catch_signals(self) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._watch(reader, lambda: self._read_signals(reader))

    def _read_signals(self, reader: int) -> None:
        for number in os.read(reader, 256):
            if number in STOP_SIGNALS:
                name = signal.Signals(number).name
                if self._stopping:
                    self._kill_all(name)
                self.stop(name)
            elif number == signal.SIGHUP:
                self._hang_up()
            elif number == signal.SIGUSR1:
                self._output.reopen()

    def stop(self, reason: str) -> None:
        """Begin to stop: the front end first, so that no request comes any more. A second order changes nothing."""
        if self._stopping:
            return
        self._stopping = reason
        self.say(f"{reason}: stopping")
        notify.send("STOPPING=1")
        self._order_end(self._children[0], graceful_end(self.site), FRONTEND_GRACE)
        if self._reload is not None:
            self._give_up_reload(self._reload, "the site is stopped")
        for child in self._children:
            if child.health.resting:
                child.health.enter("stopped", time.time())

    def _kill_all(self, reason: str) -> None:
        self.say(f"{reason} again: everything is killed")
        for child in self._everyone():
            child.kill()

    def _order_end(self, child: Child, number: signal.Signals, grace: float) -> None:
        if child.health.state in ("starting", "ready"):
            child.health.enter("stopping", time.time())
            child.health.deadline = time.monotonic() + grace
            child.signal(number)

    def _stop_backends_after_frontend(self) -> None:
        if not self._children[0].health.running:
            for child in self._children[1:]:
                self._order_end(child, signal.SIGTERM, BACKEND_GRACE)

    def _end_all(self) -> None:
        """Whatever happened: no process, no socket, no file stays."""
        for child in self._everyone():
            child.kill()
            child.close()
        self._end_descendants()
        for listener in self._listeners.values():
            listener.close()
        self._run_directory.clean()
        if self._control is not None:
            self._control.close()
        if self._stopping:
            self.say("stopped, nothing is left")
        self._output.drain(2.0)
        signal.set_wakeup_fd(-1)
        self._poller.close()

    def _end_descendants(self) -> None:
        """Kill and reap until there is no child: each killed process may leave its own children to us."""
        deadline = time.monotonic() + 5
        for child in self._children:
            self._kill_strays(child)
        while time.monotonic() < deadline:
            self._kill_strays(None)
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.005)
            except ChildProcessError:
                return

    def _end_leftovers(self) -> None:
        ended = self._run_directory.children.end_leftovers()
        if ended:
            self.say(f"ended what a supervisor that was killed left: {', '.join(map(str, ended))}")

    # ---- reload

    def _hang_up(self) -> None:
        """SIGHUP: to a daemon the order to reload; where there is a terminal, the word that it is gone."""
        if _has_terminal():
            self.stop("SIGHUP")
            return
        answer = self._begin_reload(())
        if not answer["ok"]:
            self.say(f"SIGHUP: not reloaded: {answer['error']}")

    def _begin_reload(self, names: Iterable[str]) -> dict[str, Any]:
        """Start the next generation beside the running one. The answer of the control socket."""
        if self._stopping or self._reload is not None or self._read_again is None:
            return {"ok": False, "error": "the site is being stopped or reloaded already"}
        from framework.site.problems import SiteError

        try:
            reload = plan_reload(self.site, self._read_again(), names)
        except (SiteError, PartsError, PrivilegeError, ReloadError, OSError) as error:
            return {"ok": False, "error": str(error)}
        notify.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._generation += 1
        self._reload = reload
        for part in reload.parts:
            if not reload.failure:  # else the rest would start, and nobody would end it
                self._start_incoming(reload, part)
        return {"ok": True, "reloading": True}

    def _start_incoming(self, reload: Reload, part: Part) -> None:
        child = Child(part, self._output, self._watch, self._unwatch)
        child.generation = self._generation
        reload.incoming[part.name] = child
        try:
            self._start_backend(child)
        except (LaunchError, RunError, OSError) as error:
            child.close()
            child.health.enter("stopped", time.time())
            self._give_up_reload(reload, f"back end {part.name} cannot be started: {error}")
            return
        self._record(child)

    def _go_on_reloading(self, reload: Reload) -> None:
        if reload.has_ended:
            self._end_reload(reload, {"ok": False, "error": reload.failure})
        elif not reload.failure and reload.is_ready:
            self._take_over(reload)

    def _give_up_reload(self, reload: Reload, reason: str) -> None:
        """What runs goes on; the new generation is ended. Who serves already has taken requests: it finishes them."""
        reload.failure = reload.failure or reason
        for child in reload.incoming.values():
            if child.health.state == "ready" and not self._stopping:
                self._order_end(child, signal.SIGTERM, BACKEND_GRACE)
            elif child.health.state == "starting" or self._stopping:
                child.kill()

    def _take_over(self, reload: Reload) -> None:
        """All of the new generation serve: now the front end's configuration, then the old generation may go."""
        try:
            changed = write_configuration(reload.site, self._children[0].part)
        except (FrontendError, OSError) as error:
            self._give_up_reload(reload, str(error))
            return
        self.site = reload.site
        if changed:
            self._children[0].signal(graceful_reload(self.site))
        old = {child.name: child for child in self._children[1:]}
        replaced = [old.pop(name) for name in reload.incoming if name in old]
        replaced += [old.pop(name) for name in reload.gone if name in old]
        fresh = {child.name: child for child in (*old.values(), *reload.incoming.values())}
        self._children[1:] = [fresh[name] for name in self.site.backends if name in fresh]
        for name, child in reload.incoming.items():
            child.move_table(self.site.urls_path(name))
        for child in replaced:
            self._retire(child, gone=child.name in reload.gone)
        answer = {"ok": True, "backends": list(reload.incoming), "frontend": changed, "waiting": reload.waiting}
        self._end_reload(reload, answer)

    def _retire(self, child: Child, *, gone: bool) -> None:
        if gone:
            self._close_listener(child.name)
            self.site.urls_path(child.name).unlink(missing_ok=True)
        if child.health.pid:
            self._retired.append(child)
            self._order_end(child, signal.SIGTERM, BACKEND_GRACE)

    def _end_reload(self, reload: Reload, answer: dict[str, Any]) -> None:
        self._reload = None
        resting = {child.name for child in self._children if child.health.state == "failed"}
        for name in self._listeners.keys() - (self.site.backends.keys() - resting):
            self._close_listener(name)
        if answer["ok"]:
            self.say(f"reloaded: generation {self._generation} of {', '.join(reload.incoming)} serves")
        else:
            self.say(f"not reloaded, the running generation stays: {answer['error']}")
        if not self._stopping:
            notify.send("READY=1")
        if self._control is not None:
            self._control.settle(answer)

    # ---- control and news

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("command"):
            case "status":
                return {"ok": True, **self.describe()}
            case "stop":
                self.stop("ordered by sitectl")
                return {"ok": True, "stopping": True}
            case "reload":
                names = request.get("backends", [])
                if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                    return {"ok": False, "error": "backends is not a list of names"}
                return self._begin_reload(names)
            case other:
                there = "there are status, reload and stop"
                return {"ok": False, "error": f"unknown command {str(other)[:40]!r}; {there}"}

    def describe(self) -> dict[str, Any]:
        """The state of the site, JSON-able."""
        return {
            "site": self.site.name,
            "pid": os.getpid(),
            "uid": os.getuid(),
            "user": caller().user,
            "since": self._since,
            "file": str(self.site.file),
            "listen": str(self.site.listen),
            "stopping": self._stopping,
            "log": {"to": self._output.where, "lost": self._output.lost},
            "parts": [child.describe() for child in self._children],
        }

    def _announce(self) -> None:
        """Once, when the front end is up and every back end too or has failed once: who runs as whom, what to open.

        No back end can put this off for long: where it does not come, a service manager ends the whole site.
        """
        if self._announced or not all(map(_is_settled, self._children)):
            return
        self._announced = True
        seconds = time.monotonic() - self._begun
        for line in summary(self.site, [child.describe() for child in self._children], seconds):
            self._output.line(line)
        running = sum(child.health.state == "ready" for child in self._children)
        notify.send(f"READY=1\nSTATUS={running} of {len(self._children)} parts run")


def _is_settled(child: Child) -> bool:
    health = child.health
    return health.state in ("ready", "failed") or (child.part.kind == "backend" and health.failures > 0)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _ended_child() -> int | None:
    """A child that has ended and waits to be reaped; None where there is none now."""
    try:
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return info.si_pid if info is not None else None


def summary(site: Site, parts: list[dict[str, Any]], seconds: float) -> list[str]:
    """The lines that tell who runs as whom, and what to open in a browser."""
    failed = sum(part["state"] != "ready" for part in parts)
    lines = ["", f"site {site.name} is up after {seconds:.2f} s" + (f", but for {failed} part(s)" if failed else "")]
    rows = [("part", "user", "uid", "pid", "state", "where")]
    rows += [
        (part["name"], part["user"], str(part["uid"]), str(part["pid"] or "-"), part["state"], part["where"])
        for part in parts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    ]
    lines += [f"  {part['name']}: {part['last_error']}" for part in parts if part["state"] != "ready"]
    if os.geteuid() != 0:
        user = parts[0]["user"]
        lines.append(f"  without root: everything runs as {user}, so no part is protected from another")
    lines += [f"  open {url}" for url in urls_of(site)]
    return [*lines, "  stop with Ctrl-C, or: sitectl stop", ""]


def urls_of(site: Site) -> list[str]:
    """What to open in a browser, one for each host."""
    port = "" if site.listen.port == 80 else f":{site.listen.port}"
    return [f"http://{host.name}{port}/" for host in site.hosts]
