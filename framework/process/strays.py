"""Ending what has fled from a child: processes in other sessions, below other parents, or never the same for long.

A process can leave its session and its parent, but not its descent (the supervisor is a subreaper), its user, or the
marks of the drop: no new privileges, an empty bounding set. Those are what this module goes by. It is for a
single-threaded caller; sessions themselves are ended by `runfiles.kill_session`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

from framework.process.linux import CAPABILITIES
from framework.process.proof import read_status
from framework.process.runfiles import stat_fields

__all__ = ["bears_marks", "cgroup_of", "end_strays", "has_supervisor"]

ROUNDS = 10
PAUSE = 0.005
"""Seconds between two rounds, in which those that were killed end."""

_KEEPABLE = 1 << CAPABILITIES["net_bind_service"]


def end_strays(known: Iterable[int], uid: int | None = None) -> None:
    """Kill the caller's descendants but those in `known` and theirs: all, or those that run as `uid`.

    A list of pids is never complete where processes start others and end all the time, so a user that no known child
    shares is ended as a whole.
    """
    spared = frozenset(known)
    if uid is not None and uid not in map(_owner, spared) and _kill_user(uid):
        return
    for _ in range(ROUNDS):
        strays = [pid for pid, owner in _descendants(spared).items() if uid is None or owner == uid]
        if not strays:
            return
        for pid in strays:
            _kill(pid)
        time.sleep(PAUSE)


def _descendants(spared: frozenset[int]) -> dict[int, int]:
    """pid → uid of all that run below the caller, without `spared` and what is below those; zombies left out."""
    children: dict[int, list[int]] = {}
    ended = set()
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat_fields(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
            if fields[0] in "ZX":
                ended.add(int(name))
    found, todo = {}, [os.getpid()]
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in spared:
                todo.append(pid)
                if pid not in ended:
                    found[pid] = _owner(pid)
    return found


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _kill_user(uid: int) -> bool:
    """SIGKILL to all processes of a user at once, so that none forks in between (kill(2), pid -1); False if not done.

    Only for root, and only where every process of that user descends from the caller.
    """
    if os.geteuid() != 0 or uid <= 0 or not all(map(_is_ours, _processes_of(uid))):
        return False
    child = os.fork()
    if child == 0:  # pragma: no cover - another process, out of sight of the parent's coverage
        try:
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(40):  # its own user may stop or kill it: it is never waited for without an end
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(PAUSE)
    _kill(child)
    os.waitpid(child, 0)
    return False


def _processes_of(uid: int) -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _owner(int(name)) == uid]


def _is_ours(pid: int) -> bool:
    """Whether it descends from the caller or is gone; looked at again where a parent ends on the way."""
    for _ in range(5):
        here = pid
        while here > 1:
            if here == os.getpid():
                return True
            fields = stat_fields(here)
            if not fields:
                if here == pid:
                    return True
                break
            here = int(fields[1])
        else:
            return False
    return False


def cgroup_of(pid: int | str = "self") -> str:
    """The text of /proc/PID/cgroup, which a process without rights cannot change; empty where it is gone."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def bears_marks(pid: int, kept: int = 0) -> bool:
    """Whether a process has what the drop leaves and nothing can undo: no new privileges, a bounding set of `kept`."""
    try:
        status = read_status(pid)
        return status["NoNewPrivs"] == "1" and not int(status["CapBnd"], 16) & ~(_KEEPABLE | kept)
    except (OSError, KeyError, ValueError):
        return False


def has_supervisor(pid: int) -> bool:
    """Whether a process descends from a supervisor that lives, and is not the caller: that one ends it in its time."""
    while (fields := stat_fields(pid)) and (pid := int(fields[1])) > 1 and pid != os.getpid():
        if _owner(pid) == 0 and _holds_a_site(pid):
            return True
    return False


def _holds_a_site(pid: int) -> bool:
    """Whether a process has the file open that every supervisor keeps locked (`Site.pid_path`)."""
    try:
        return any(
            os.path.basename(os.readlink(f"/proc/{pid}/fd/{number}")) == "supervisor.pid"
            for number in os.listdir(f"/proc/{pid}/fd")
        )
    except OSError:
        return False
