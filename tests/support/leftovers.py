"""What a test may have left behind: processes, listening sockets, temporary files, site directories, users.

A `Snapshot` is taken before a test and compared afterwards. The test process makes itself a child subreaper, so that
an orphan becomes its child instead of vanishing from sight below init. Only looks (/proc, listings); kills nothing.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
GRACE = 20.0  # seconds a stopped process may take to be gone
WATCHED_DIRECTORIES = (Path("/run"), Path("/var/lib"), Path("/etc/systemd/system"))
LIVE_LOCK = "\0fastcore-live-tests"  # abstract unix address: freed by the kernel when its holder ends


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def take_live_lock() -> socket.socket:
    """Wait until no other module of live tests runs on this machine; closing the socket lets the next one in."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told = False
    while True:
        try:
            lock.bind(LIVE_LOCK)
            return lock
        except OSError:
            if not told:
                print("\nwaiting for another run of live tests on this machine to end …", flush=True)
            told = True
            time.sleep(0.2)


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    state: str
    started: str  # clock ticks since boot: tells a reused pid from the old one
    command: str


def processes() -> dict[int, Process]:
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text("utf-8", "replace")
            command = Path("/proc", entry, "cmdline").read_text("utf-8", "replace").replace("\0", " ").strip()
        except OSError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        fields = rest.split()
        found[int(entry)] = Process(int(entry), int(fields[1]), fields[0], fields[19], command or f"[{name}]")
    return found


def descendants(of: int) -> dict[int, Process]:
    children: dict[int, list[Process]] = {}
    for process in processes().values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    pending = [of]
    while pending:
        for child in children.get(pending.pop(), ()):
            found[child.pid] = child
            pending.append(child.pid)
    return found


def listening_sockets() -> dict[str, str]:
    """This process's listening sockets: inode → address as /proc/net writes it."""
    own = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:["):
            own.add(target[8:-1])
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in _lines(f"/proc/net/{table}"):
            fields = line.split()
            if fields[3] == "0A" and fields[9] in own:
                listening[fields[9]] = f"{table} {fields[1]}"
    for line in _lines("/proc/net/unix"):
        fields = line.split()
        if int(fields[3], 16) & 0x10000 and fields[6] in own:
            listening[fields[6]] = "unix " + " ".join(fields[7:])
    return listening


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return []


def _names(directory: Path) -> set[str]:
    try:
        return {str(directory / name) for name in os.listdir(directory)}
    except OSError:
        return set()


def machine_state() -> set[str]:
    """What a test could leave on the machine: users, groups, directories of sites."""
    users = {f"user {entry.pw_name}" for entry in pwd.getpwall()}
    groups = {f"group {entry.gr_name}" for entry in grp.getgrall()}
    return users.union(groups, *(_names(directory) for directory in WATCHED_DIRECTORIES))


@dataclass
class Snapshot:
    """The state of this run before a test; `report()` says in words what is there now that was not.

    Its processes, its listening sockets and its temporary files; what others do on the machine does not matter.
    """

    children: dict[int, Process] = field(default_factory=lambda: descendants(os.getpid()))
    sockets: dict[str, str] = field(default_factory=listening_sockets)
    files: set[str] = field(default_factory=lambda: _names(Path(tempfile.gettempdir())))

    def new_processes(self) -> list[Process]:
        now = descendants(os.getpid())
        known = {pid for pid, process in self.children.items() if pid in now and now[pid].started == process.started}
        for process in now.values():
            if process.state == "Z" and process.parent == os.getpid() and process.pid not in known:
                _reap(process.pid)

        def belongs_to_known(process: Process) -> bool:
            # A site that serves a whole module may restart a worker during one test.
            while process.pid not in known:
                if process.parent not in now:
                    return False
                process = now[process.parent]
            return True

        return [process for process in now.values() if process.state != "Z" and not belongs_to_known(process)]

    def report(self) -> list[str]:
        deadline = time.monotonic() + GRACE
        while (left := self.new_processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        words = [f"process {process.pid} ({process.command})" for process in left]
        words += [f"listening socket {text}" for key, text in listening_sockets().items() if key not in self.sockets]
        words += sorted(_names(Path(tempfile.gettempdir())) - self.files)
        return words


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
