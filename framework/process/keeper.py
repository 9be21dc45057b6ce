"""The process that systemd starts for a back end: it keeps the listener, starts the back end, and replaces it.

    python -P -s -S -m framework.process.keeper NAME             ExecStart= of a unit that `sitectl systemd` prints
    python -P -s -S -m framework.process.keeper --reload PID     its ExecReload=: waits, and fails where the reload does

On SIGHUP a new generation starts beside the running one: a fresh interpreter of `framework.process.backend` with the
same spec on the same listener. When it says that it serves, the old one finishes what it has begun; where it does not
come up, the old one stays and the reason is told. The keeper has the rights of its unit; it imports no application,
reads no request, and starts nothing but that one command. What a generation writes to it is believed as little as by
the supervisor: a message counts only from the process that was started, and is cut and made printable. Sources:
sd_notify(3), sd_listen_fds(3), systemd.service(5).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from framework.process import notify
from framework.process.health import describe_exit
from framework.process.poller import Poller

TYPE_CHECKING = False  # as in typing, whose import costs every back end half a megabyte
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

__all__ = ["Keeper", "main", "order_reload"]

FIRST_LISTEN_FD = 3
START_SECONDS = 50.0
"""How long a new generation may take until it serves: less than TimeoutStartSec= of the unit: then it is told."""

DRAIN_SECONDS = 10.0
"""How long a replaced generation may take to finish what it has begun; then it is killed."""

MAX_RETIRED = 16
"""Replaced generations that still finish something; the oldest over that are killed."""

MAX_SPEC_BYTES = 1 << 20
MAX_ASKING = 8
"""Processes that wait at once for the end of a reload."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_OURS = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")


class Generation:
    """One running back end, and what it says."""

    def __init__(self, number: int, pid: int, channel: socket.socket, deadline: float) -> None:
        self.number = number
        self.pid = pid
        self.channel = channel
        self.deadline = deadline  # seconds (monotonic) when it is killed; 0 for never
        self.status = ""
        self.complaint = ""

    def kill(self) -> None:
        """End it with all that it has started in its process group."""
        self.deadline = 0.0
        for end in (os.killpg, os.kill):
            try:
                end(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has no group of its own yet
                pass


class Keeper:
    """Runs `command` as one generation after the other on the listeners that it was passed.

    spec         what each is given on its standard input
    listeners    how many descriptors it is passed, from 3 on, and their names (LISTEN_FDNAMES)
    environment  its variables beside those of the protocols
    manager      where the service manager takes messages (NOTIFY_SOCKET)
    """

    def __init__(
        self,
        command: Sequence[str],
        spec: bytes,
        listeners: tuple[int, str],
        environment: Mapping[str, str],
        manager: str,
    ) -> None:
        self._command = tuple(command)
        self._spec = spec
        self._listeners = listeners
        self._environment = environment
        self._manager = manager
        self._poller = Poller()
        self._count = 0
        self._current: Generation | None = None
        self._incoming: Generation | None = None
        self._retired: list[Generation] = []
        self._stopping = False
        self._again = False  # a reload was ordered while one is on its way
        self._exit: int | None = None
        self._asking: list[socket.socket] = []

    def run(self) -> int:
        """Stay until told to end, or until the back end ends by itself; returns the exit code."""
        self._poller.catch((*STOP_SIGNALS, signal.SIGHUP, signal.SIGABRT, signal.SIGCHLD), self._take_signal)
        self._listen()
        self._incoming = self._start()
        while self._exit is None or (self._stopping and self._all()):
            due = min((each.deadline for each in self._all() if each.deadline), default=0.0)
            self._poller.wait(max(due - time.monotonic(), 0.0) if due else -1.0)
            for each in self._all():
                if each.deadline and time.monotonic() >= each.deadline:
                    each.complaint = each.complaint or "was not ready in time"
                    _say(f"generation {each.number} takes too long: it is killed", 3)
                    each.kill()
        for each in self._all():
            each.kill()
        return self._exit

    def _all(self) -> list[Generation]:
        return [each for each in (self._current, self._incoming, *self._retired) if each is not None]

    def _tell(self, *lines: str) -> None:
        notify.send("\n".join(lines), self._manager)

    # ---- generations

    def _start(self) -> Generation:
        """Fork and execute the command. Raises OSError."""
        self._count += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        for end in (ours, theirs):
            end.setblocking(False)
        # Blocked across the fork: a signal for the child must not run the parent's handlers in it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if not pid:
                self._become(theirs, mask)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
        generation = Generation(self._count, pid, ours, time.monotonic() + START_SECONDS if self._current else 0.0)
        self._poller.watch(ours.fileno(), lambda: self._listen_to(generation))
        return generation

    def _become(self, channel: socket.socket, mask: set[int | signal.Signals]) -> NoReturn:
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (*STOP_SIGNALS, signal.SIGHUP, signal.SIGABRT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            count, names = self._listeners
            spec = os.memfd_create("spec", os.MFD_CLOEXEC)
            os.write(spec, self._spec)
            os.lseek(spec, 0, os.SEEK_SET)
            channel_fd = os.dup(channel.fileno())
            os.dup2(spec, 0)
            os.dup2(channel_fd, FIRST_LISTEN_FD + count)
            own = {
                "NOTIFY_SOCKET": f"fd:{FIRST_LISTEN_FD + count}",
                "LISTEN_PID": str(os.getpid()),
                "LISTEN_FDS": str(count),
                "LISTEN_FDNAMES": names,
            }
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execve(self._command[0], self._command, {**self._environment, **own})
        except OSError as error:
            _say(f"cannot start {self._command[0]}: {error.strerror}", 3)
        finally:
            os._exit(126)

    def _listen_to(self, generation: Generation) -> None:
        for pid, message in notify.receive(generation.channel):
            if pid == generation.pid:
                self._take(generation, message)

    def _take(self, generation: Generation, message: Mapping[str, str]) -> None:
        status = message.get("STATUS", "")
        generation.status = status or generation.status
        if "ERRNO" in message:
            generation.complaint = generation.status
        if generation is self._incoming:
            if message.get("READY") == "1":
                self._take_over(generation)
            elif self._current is None and status:
                errno = [f"ERRNO={message['ERRNO']}"] if "ERRNO" in message else []
                self._tell(f"STATUS={status}", *errno)
        elif generation is self._current and message.get("WATCHDOG") == "1":
            notify.send("WATCHDOG=1", self._manager, 0.0)  # the next one comes soon

    def _take_over(self, generation: Generation) -> None:
        old, self._current, self._incoming = self._current, generation, None
        generation.deadline = 0.0
        if self._stopping:
            self._retired += [old] if old is not None else []  # it has been told, and is waited for
            return
        if old is not None:
            self._retire(old)
        if generation.number == 1:
            self._tell("READY=1", f"STATUS={generation.status}")
        else:
            _say(f"reloaded: generation {generation.number} serves, pid {generation.pid}", 6)
            self._settle(f"serving, generation {generation.number}")
        self._reload_again()

    def _retire(self, old: Generation) -> None:
        for oldest in self._retired[: max(len(self._retired) + 1 - MAX_RETIRED, 0)]:
            oldest.kill()
        self._retired.append(old)
        old.deadline = time.monotonic() + DRAIN_SECONDS
        _send(old.pid, signal.SIGTERM)

    # ---- reload

    def _reload(self) -> None:
        if self._stopping:
            return
        if self._incoming is not None:
            self._again = True
            return
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._incoming = self._start()
        except OSError as error:
            self._settle("serving", f"a new generation cannot be started: {error.strerror}")

    def _reload_again(self) -> None:
        if self._again:
            self._again = False
            self._reload()

    def _settle(self, status: str, failure: str = "") -> None:
        """The end of a reload, well or not: whoever has ordered it is told."""
        if failure:
            _say(f"not reloaded, the running generation stays: {failure}", 3)
            status = f"{status}; not reloaded: {failure}"
        self._tell("READY=1", f"STATUS={status}", "WATCHDOG=1")
        asking, self._asking = ([], self._asking) if self._again else (self._asking, [])
        for each in asking:
            try:
                each.send((failure or "ok").encode()[: notify.MAX_MESSAGE_BYTES])
            except OSError:  # it has gone
                pass
            each.close()

    # ---- who orders one and waits

    def _listen(self) -> None:
        """Take orders on an abstract socket, named by our pid, from our own user and root."""
        asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            asked.bind(_address(os.getpid()))
            asked.listen(MAX_ASKING)
        except OSError as error:
            asked.close()
            _say(f"takes a reload by SIGHUP only: {error.strerror}", 4)
            return
        self._poller.watch(asked.fileno(), lambda: self._accept(asked))

    def _accept(self, asked: socket.socket) -> None:
        try:
            asking, _ = asked.accept()
        except OSError:
            return
        if notify.peer(asking)[1] not in (0, os.getuid()) or len(self._asking) >= MAX_ASKING or self._stopping:
            asking.close()
            return
        asking.setblocking(False)
        self._asking.append(asking)
        self._reload()

    # ---- signals

    def _take_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGABRT:
            self._abort()
        else:
            told = [] if self._stopping else list(self._retired)  # the second signal would cut what they finish
            if not self._stopping:
                self._stopping = True
                self._tell("STOPPING=1", "STATUS=finishing what has begun")
            for each in self._all():
                if each not in told:
                    _send(each.pid, signal.SIGTERM)
            if self._exit is None:
                self._exit = 0

    def _abort(self) -> None:
        """The watchdog of the service manager has run out: what is stuck shows where, and all ends."""
        self._stopping = True
        self._exit = 128 + signal.SIGABRT
        _say("no sign of life within the watchdog's time: the back end is ended", 2)
        for each in self._all():
            _send(each.pid, signal.SIGABRT)
            each.deadline = time.monotonic() + 1.0

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            generation = next((each for each in self._all() if each.pid == pid), None)
            if generation is not None:
                self._listen_to(generation)  # its last words
                self._ended(generation, os.waitstatus_to_exitcode(status))

    def _ended(self, generation: Generation, code: int) -> None:
        self._poller.unwatch(generation.channel.fileno())
        generation.channel.close()
        generation.kill()  # what it has started
        if generation in self._retired:
            self._retired.remove(generation)
            return
        if generation is self._incoming:
            self._incoming = None
            if self._current is not None:
                if not self._stopping:
                    self._settle("serving", generation.complaint or describe_exit(code))
                    self._reload_again()
                return
        else:
            self._current = None
            if self._incoming is not None and not self._stopping:
                return  # the next one is about to take its place
        if self._exit is None:
            self._exit = code if code >= 0 else 128 - code


def main(arguments: list[str] | None = None) -> int:
    """Keep the back end that is named, or have one reloaded. Returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) == 2 and words[0] == "--reload" and words[1].isdigit():
        return order_reload(int(words[1]))
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: python -m framework.process.keeper NAME | --reload PID", file=sys.stderr)
        return 2
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not (count.isdigit() and 1 <= int(count) <= 16):
        _say("no listener was passed (LISTEN_FDS, LISTEN_PID): a socket unit has to start it", 3)
        return 78
    with open(0, "rb", closefd=False) as stream:
        spec = stream.read(MAX_SPEC_BYTES + 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        environment.pop("WATCHDOG_USEC", None)
    command = (sys.executable, "-P", "-s", "-m", "framework.process.backend", words[0])
    listeners = (int(count), os.environ.get("LISTEN_FDNAMES", ""))
    return Keeper(command, spec, listeners, environment, os.environ.get("NOTIFY_SOCKET", "")).run()


def order_reload(pid: int) -> int:
    """Have this keeper reload its back end, and wait for the end: 0, or 1 where the old code goes on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        try:
            asking.connect(_address(pid))
            if notify.peer(asking)[0] != pid:
                raise OSError(0, "somebody else answers in its place")
            answer = asking.recv(notify.MAX_MESSAGE_BYTES).decode("utf-8", "replace")
        except OSError as error:
            print(f"process {pid} takes no order to reload: {error.strerror}", file=sys.stderr)
            return 1
    if answer != "ok":
        print(f"not reloaded, the running generation stays: {answer or 'it ends'}", file=sys.stderr)
    return int(answer != "ok")


def _address(pid: int) -> str:
    return f"\0framework-keeper/{pid}"


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _say(text: str, level: int) -> None:
    """A line for the journal with its priority (sd-daemon(3))."""
    print(f"<{level}>{text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
