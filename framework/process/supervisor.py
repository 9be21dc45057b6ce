"""The supervisor: root, single-threaded, and all that a site needs root for.

It binds the sockets, starts each part as its own user, watches, starts again, and ends all; it imports no
application, reads no HTTP, no FastCGI, and believes nothing that a child writes. Idle, it sleeps until something
happens. The order of things is in `run`.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from framework.process import control, linux, notify
from framework.process.budget import Budget
from framework.process.child import Child
from framework.process.counts import Counts
from framework.process.frontend import accepts, check_port_is_free, graceful_end, write_configuration
from framework.process.launcher import LaunchError
from framework.process.listeners import Listeners
from framework.process.logs import Output
from framework.process.ondemand import OnDemand
from framework.process.parts import Part, frontend_privileges, parts_of
from framework.process.poller import Poller
from framework.process.privileges import caller
from framework.process.reloading import Reloading
from framework.process.runfiles import RunDirectory, RunError, kill_session
from framework.process.starting import start_backend
from framework.process.strays import end_strays
from framework.process.summary import summary

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["Supervisor"]

FRONTEND_GRACE = 7.0
BACKEND_GRACE = 10.0
"""Seconds to finish what is under way after the order to stop; then it is killed."""

MAX_RETIRED = 16
"""Replaced processes of one back end that still finish what they have begun; the oldest over that are killed."""

PROBE_INTERVAL = 0.02
"""Seconds between looks whether the front end accepts connections, while it starts."""

MAX_DESCRIPTORS = 65536
"""As many as the system lets it have, up to this: each worker takes two of its own, and two more while it starts."""

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
        self.output = output
        self.poller = Poller()
        self.children: list[Child] = []
        self.retired: list[Child] = []  # those that have been replaced, finishing what they have begun
        self._counts: dict[str, Counts] = {}
        self.stopping = ""
        self.announced = False
        self._run_directory = RunDirectory(site)
        self.listeners = Listeners(self._run_directory, self.poller.watch, self.poller.unwatch, self.say)
        self.reloading = Reloading(self, read_again)
        self.ondemand = OnDemand(self)
        self.budget = Budget(self)
        self._control: control.Server | None = None
        self._begun = time.monotonic()
        self._since = time.time()

    def run(self) -> int:
        """Start the site, stay until it is told to stop, leave nothing behind. Returns the exit code."""
        self._run_directory.take()
        try:
            self._catch_signals()
            _want_descriptors()
            self._end_leftovers()
            for listen in self.site.addresses:
                check_port_is_free(listen)
            self._run_directory.prepare(frontend_privileges(self.site))
            parts = parts_of(self.site)
            write_configuration(self.site, parts[0])
            linux.become_subreaper()
            loop = (self._answer, self.poller.watch, self.poller.unwatch)
            self._control = control.Server(self.site.control_path, *loop, self.site.control_group)
            self.children = [self.new_child(part) for part in parts]
            for child in self.children[1:]:
                self.listener_of(child)
            for child in reversed(self.children):  # the back ends first: they take longest
                if not self.ondemand.put_to_sleep(child):
                    self.start(child)
            self._loop()
        finally:
            self._end_all()
        return 0

    def say(self, text: str, level: str = "info") -> None:
        """A line of the supervisor's own."""
        self.output.write("supervisor", os.getpid(), text, level)

    # ---- the loop

    def _loop(self) -> None:
        while not (self.stopping and not any(child.health.running for child in self.everyone())):
            deadline = self._next_deadline()
            self.poller.wait(-1.0 if deadline is None else max(0.0, deadline - time.monotonic()))
            self._reap()
            self._act_on_time()

    def everyone(self) -> list[Child]:
        """The children of all generations."""
        return [*self.children, *self.reloading.incoming, *self.retired]

    def new_child(self, part: Part) -> Child:
        """A child that is not started yet."""
        counts = self._counts.setdefault(part.name, Counts())
        return Child(part, self.output, self.poller.watch, self.poller.unwatch, counts)

    def _next_deadline(self) -> float | None:
        times = [child.health.next_event for child in self.children]
        times += [child.health.deadline or None for child in self.everyone() if child not in self.children]
        times.append(self.reloading.next_event())
        if not self.stopping:  # then nobody acts on these, and they would come at once for ever
            times += [self.ondemand.next_event(), self.budget.next_event()]
        times.append(self._control.next_deadline() if self._control is not None else None)
        if self.output.waiting:
            times.append(time.monotonic() + OUTPUT_INTERVAL)
        if any(self._is_starting_frontend(child) for child in self.children):
            times.append(time.monotonic() + PROBE_INTERVAL)
        return min((time for time in times if time is not None), default=None)

    def _act_on_time(self) -> None:
        now = time.monotonic()
        self.output.pump()
        for child in self.children:
            health = child.health
            if self._is_starting_frontend(child) and accepts(self.site.listen):
                health.became_ready(now, time.time())
            if health.deadline and now >= health.deadline:
                self._take_too_long(child)
            elif health.resting and now >= health.next_start:
                self.start(child)
        for child in self.everyone():
            if child not in self.children and child.health.deadline and now >= child.health.deadline:
                self._take_too_long(child)
        self.reloading.go_on()
        if self._control is not None:
            self._control.drop_slow(now)
        if self.stopping:
            self._stop_backends_after_frontend()
        else:
            self._announce()
            self.ondemand.act(now)
            self.budget.act(now)

    @staticmethod
    def _is_starting_frontend(child: Child) -> bool:
        return child.part.kind == "frontend" and child.health.state == "starting"

    def _take_too_long(self, child: Child) -> None:
        what = "was not ready in time" if child.health.state == "starting" else "did not end in time"
        if child.health.state == "starting":
            child.health.complaint = what
        self.say(f"{child.name} {what}: it is killed", "error")
        child.health.deadline = 0.0
        child.kill()

    # ---- start

    def start(self, child: Child) -> None:
        """Start a child of the running generation; a failure is one of its own, and it is started again."""
        try:
            if child.part.kind == "backend":
                self.start_backend(child, self.site)
            else:
                child.start(child.part.launch({}, (), {}))
                self._record(child)
        except (LaunchError, RunError, OSError) as error:
            child.close()
            child.health.complaint = f"cannot be started: {error}"
            self._after_end(child, 1)

    def _record(self, child: Child) -> None:
        rights = child.part.privileges
        self._run_directory.children.add(child.health.pid, rights.uid, rights.capabilities)

    def start_backend(self, child: Child, site: Site) -> None:
        """Start it as this site describes it; one that is not of the running generation has its URL table beside."""
        table = site.urls_path(child.name)
        if child not in self.children:
            table = table.with_name(f".{table.name}")
        start_backend(child, site, self.listener_of(child), self._frontend.part.privileges, table)
        self._record(child)

    def listener_of(self, child: Child) -> socket.socket:
        """The listener of its back end. Raises RunError."""
        rights = self._frontend.part.privileges
        return self.listeners.get(child.name, rights.gid if rights.switch else None)

    @property
    def _frontend(self) -> Child:
        return self.children[0]

    # ---- ends that nobody ordered

    def _reap(self) -> None:
        while (pid := _ended_child()) is not None:
            child = next((child for child in self.everyone() if child.health.pid == pid), None)
            if child is not None:
                kill_session(pid)  # before it is reaped: until then nobody else can be given its number
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if child is not None:
                self._on_end(child, status)
            else:
                self.reloading.reaped(pid, status)

    def _on_end(self, child: Child, status: int) -> None:
        pid = child.health.pid
        self._kill_strays(child)
        child.close()
        self._run_directory.children.remove(pid)
        if self.stopping or child not in self.children:
            failed = child.health.state in ("starting", "ready")
            if failed:
                child.health.ended(status, time.monotonic(), time.time())
            child.health.pid, child.health.deadline = 0, 0.0
            child.health.enter("stopped", time.time())
            if child in self.retired:
                self.retired.remove(child)
            elif failed:
                self.reloading.lost(child)
        else:
            self._after_end(child, status)

    def _after_end(self, child: Child, status: int) -> None:
        now = time.monotonic()
        delay = child.health.ended(status, now, time.time())
        rest = f"it rests for {delay:g} s" if child.health.state == "failed" else f"starts again in {delay:g} s"
        self.say(f"{child.part.kind} {child.name}: {child.health.last_error}; {rest}", "error")
        if child.health.state == "failed" and not self.reloading.replaces(child):
            self.listeners.close(child.name)

    def _kill_strays(self, child: Child | None) -> None:
        """What fled its session still descends from us: end what runs as this child's user, or all."""
        if child is None:
            end_strays(())
        else:
            others = [other.health.pid for other in self.everyone() if other is not child and other.health.pid]
            end_strays(others, child.part.privileges.uid)

    # ---- stop

    def _catch_signals(self) -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self.poller.catch((*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD), self._take_signal)

    def _take_signal(self, number: int) -> None:
        if number in STOP_SIGNALS:
            name = signal.Signals(number).name
            if self.stopping:
                self._kill_all(name)
            self.stop(name)
        elif number == signal.SIGHUP:
            self._hang_up()
        elif number == signal.SIGUSR1:
            self.output.reopen()

    def stop(self, reason: str) -> None:
        """Begin to stop: the front end first, so that no request comes any more. A second order changes nothing."""
        if self.stopping:
            return
        self.stopping = reason
        self.say(f"{reason}: stopping")
        notify.send("STOPPING=1")
        self.order_end(self._frontend, graceful_end(self.site), FRONTEND_GRACE)
        self.reloading.give_up("the site is stopped")
        for child in self.children:
            if child.health.resting:
                child.health.enter("stopped", time.time())

    def _kill_all(self, reason: str) -> None:
        self.say(f"{reason} again: everything is killed")
        for child in self.everyone():
            child.kill()

    def order_end(self, child: Child, number: signal.Signals = signal.SIGTERM, grace: float = BACKEND_GRACE) -> None:
        """Have it finish what it has begun, for so many seconds."""
        if child.health.state in ("starting", "ready"):
            child.health.enter("stopping", time.time())
            child.health.deadline = time.monotonic() + grace
            child.signal(number)

    def _stop_backends_after_frontend(self) -> None:
        """Until then what sleeps is still woken: the front end may have a request that it has begun to read."""
        if not self._frontend.health.running:
            for child in self.children[1:]:
                self.order_end(child)
                if child.health.state == "asleep":
                    self.listeners.forget(child.name)
                    child.health.enter("stopped", time.time())

    def retire(self, child: Child, seconds: float = BACKEND_GRACE) -> None:
        """It has been replaced: it finishes what it has begun, for so many seconds."""
        if child.health.state == "asleep":
            self.listeners.forget(child.name)
        if child.health.pid:
            before = [other for other in self.retired if other.name == child.name]
            for other in before[: max(len(before) + 1 - MAX_RETIRED, 0)]:
                self._take_too_long(other)
            self.retired.append(child)
            self.order_end(child, grace=seconds)

    def _end_all(self) -> None:
        """Whatever happened: no process, no socket, no file stays."""
        for child in self.everyone():
            child.kill()
            child.close()
        self._end_descendants()
        self.listeners.close_all()
        self._run_directory.clean()
        if self._control is not None:
            self._control.close()
        if self.stopping:
            self.say("stopped, nothing is left")
        self.output.drain(2.0)
        self.poller.close()

    def _end_descendants(self) -> None:
        """Kill and reap until there is no child: each killed process may leave its own children to us."""
        deadline = time.monotonic() + 5
        for child in self.children:
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
            self.say(f"ended what a supervisor that was killed left: {', '.join(map(str, ended))}", "warning")

    def _hang_up(self) -> None:
        """SIGHUP: to a daemon the order to reload; where there is a terminal, the word that it is gone."""
        if _has_terminal():
            self.stop("SIGHUP")
            return
        answer = self.reloading.begin(())
        if not answer["ok"]:
            self.say(f"SIGHUP: not reloaded: {answer['error']}", "error")

    def settle(self, answer: dict[str, Any]) -> None:
        """Tell those who wait how the reload has ended."""
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
                return self.reloading.begin(names)
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
            "stopping": self.stopping,
            "log": {"to": self.output.where, "lost": self.output.lost},
            "budget": self.budget.describe(),
            "parts": [child.describe() for child in self.children],
        }

    def _announce(self) -> None:
        """Once, when the front end is up and every back end too or has failed once: who runs as whom, what to open.

        No back end can put this off for long: where it does not come, a service manager ends the whole site.
        """
        if self.announced or not all(map(_is_settled, self.children)):
            return
        self.announced = True
        gc.collect()
        linux.release_memory()  # what the start alone has needed
        seconds = time.monotonic() - self._begun
        for line in summary(self.site, [child.describe() for child in self.children], seconds):
            self.output.line(line)
        running = sum(child.health.is_well for child in self.children)
        notify.send(f"READY=1\nSTATUS={running} of {len(self.children)} parts run")


def _is_settled(child: Child) -> bool:
    health = child.health
    return health.is_well or health.state == "failed" or (child.part.kind == "backend" and health.failures > 0)


def _want_descriptors() -> None:
    """Those of the usual soft limit, 1024, are for programs that use select(2); children get their own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(MAX_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


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
