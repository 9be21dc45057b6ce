"""The run directory of a site: who may write there, one supervisor at a time, whole files or none, nothing left behind.

Everything in it belongs to the user of the supervisor and is writable by nobody else; only the front end's own
folder belongs to the front end. It may be deleted whenever no supervisor runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from framework.process.privileges import Privileges

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["AlreadyRunning", "ChildRecord", "RunDirectory", "RunError", "remove_tree", "restore", "write_file"]

BACKLOG = 1024
"""Connections that wait in a back end's socket while it starts again; the kernel caps it by net.core.somaxconn."""


class RunError(Exception):
    """The run directory cannot be used; names the path, the reason and the fix."""


class AlreadyRunning(RunError):
    """Another supervisor of this site runs."""


class ChildRecord:
    """Which children the supervisor has started, on file, so that the next one can end what a killed one left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._children: dict[int, tuple[int, int, str, int]] = {}

    def add(self, pid: int, uid: int, capabilities: int = 0) -> None:
        """Note a started session leader with its rights and the time of its start (proc_pid_stat(5), field 22)."""
        from framework.process.strays import cgroup_of

        fields = stat_fields(pid)
        self._children[pid] = (int(fields[19]) if fields else 0, uid, cgroup_of(), capabilities)
        self._write()

    def remove(self, pid: int) -> None:
        self._children.pop(pid, None)
        self._write()

    def _write(self) -> None:
        try:
            write_file(self._path, json.dumps([[pid, *rest] for pid, rest in self._children.items()]).encode(), 0o600)
        except OSError:  # a full disk: the site goes on, only a killed supervisor's leftovers may stay
            pass

    def end_leftovers(self) -> list[int]:
        """Kill every process that descends from what the last supervisor started and did not end; returns their pids.

        A session id is not given out again while a process of that session lives, so uid and time of start settle
        whose it is. Of another session it is ours where it has the uid, a later start, the same cgroup, and the marks
        of the drop: what somebody else runs as this user lacks those. What has a living supervisor is another site's.
        """
        try:
            rows = json.loads(self._path.read_bytes())
            recorded = {
                int(pid): (int(start), int(uid), str(group), int(more[0]) if more else 0)
                for pid, start, uid, group, *more in rows
            }
        except (OSError, ValueError, TypeError):
            return []
        ended: dict[int, None] = {}
        for _ in range(3):  # one that forks while it is looked at is met again
            found = [each[0] for each in processes() if each[0] not in ended and _is_leftover(each, recorded)]
            for pid in found:
                _kill(pid)
            ended |= dict.fromkeys(found)
            if not found:
                break
        return list(ended)


def _is_leftover(process: tuple[int, int, int, int], recorded: dict[int, tuple[int, int, str, int]]) -> bool:
    from framework.process.strays import bears_marks, cgroup_of, has_supervisor

    pid, session, start, uid = process
    known = recorded.get(session)
    if known is not None and start >= known[0] and uid == known[1]:
        return True
    if uid in (-1, 0, os.geteuid()):  # without root nothing is marked
        return False
    alike = [(group, may) for began, owner, group, may in recorded.values() if owner == uid and start >= began]
    if not any(bears_marks(pid, may) and cgroup_of(pid) == group for group, may in alike):
        return False
    return not has_supervisor(pid)  # such as the front end of another site, which has the same user


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from `state` on (field 3); empty where the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def processes() -> list[tuple[int, int, int, int]]:
    """(pid, session, start time in ticks, uid) of all processes."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat_fields(int(name))):
            try:
                uid = os.stat(f"/proc/{name}").st_uid if fields[0] != "Z" else -1
            except OSError:
                continue
            found.append((int(name), int(fields[3]), int(fields[19]), uid))
    return found


def kill_session(session: int) -> None:
    """SIGKILL to every process of a session, until none is left that can still fork (at most a few rounds)."""
    for _ in range(10):
        members = [pid for pid, sid, _, uid in processes() if sid == session and uid != -1]
        if not members:
            return
        for pid in members:
            _kill(pid)
        time.sleep(0.002)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def write_file(path: Path, data: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace a file so that a reader sees the old or the new content, never a part. Not synced to the disk.

    Where that fails nothing is left of it. Raises OSError.

    owner  uid and gid; None for the caller's
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # O_EXCL: what somebody else has put there is never written to
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(number, mode)
            if owner is not None:
                os.fchown(number, *owner)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def notify_directory(site: Site) -> Path:
    """Folder of the sockets for READY=1, one for each back end, which that back end's user alone may write to."""
    return site.run_directory / "notify"


class RunDirectory:
    """One site's run directory: `take` and `prepare` before anything runs, `clean` after everything has ended."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.path = site.run_directory
        self.children = ChildRecord(self.path / "children")
        self._made = False
        self._lock: int | None = None

    def take(self) -> None:
        """Make the directory and take its lock. Raises AlreadyRunning and RunError."""
        self._made = _make_directory(self.path)
        self._take_lock()

    def prepare(self, frontend: Privileges) -> None:
        """Make the folders in it, the front end's own among them."""
        for folder in (self.site.sockets_directory, self.site.urls_directory, notify_directory(self.site)):
            _make_directory(folder)
        if self.site.frontend_directory.exists():
            remove_tree(self.site.frontend_directory)
        os.mkdir(self.site.frontend_directory, 0o700)
        if frontend.switch:
            os.chown(self.site.frontend_directory, frontend.uid, frontend.gid)

    def _take_lock(self) -> None:
        path = self.site.pid_path
        while True:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(number, 20).decode("ascii", "replace").strip()
                os.close(number)
                raise AlreadyRunning(
                    f"site {self.site.name!r} runs already (pid {pid or 'unknown'}): 'sitectl stop' ends it"
                ) from None
            if _is_still(number, path):
                break
            os.close(number)  # its holder removed it between our open and our lock
        os.ftruncate(number, 0)
        os.write(number, f"{os.getpid()}\n".encode())
        self._lock = number

    def bind(self, backend: str, group: int | None) -> socket.socket:
        """The listening socket of a back end, mode 0660 and of the front end's group, in the place of a stale one."""
        path = self.site.socket_path(backend)
        temporary = path.with_name(f".{path.name}")
        for old in (path, temporary):
            _refuse_other_than_socket(old)
        temporary.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        mask = os.umask(0o177)
        try:
            listener.bind(str(temporary))
        except OSError as error:
            listener.close()
            hint = (
                "; a socket's path may have 107 bytes: choose a shorter run_directory"
                if "too long" in str(error)
                else ""
            )
            raise RunError(f"cannot bind {path}: {error.strerror or error}{hint}") from None
        finally:
            os.umask(mask)
        if group is not None:
            os.chown(temporary, -1, group)
        os.chmod(temporary, 0o660)
        listener.listen(BACKLOG)
        os.replace(temporary, path)
        return listener

    def clean(self) -> None:
        """Remove everything that a supervisor puts here; the directory itself where this run has made it."""
        for folder in (
            self.site.sockets_directory,
            self.site.urls_directory,
            notify_directory(self.site),
            self.site.frontend_directory,
            self.site.credentials_directory,
            self.site.tls_directory,
            self.site.pages_directory,
        ):
            try:
                remove_tree(folder)
            except OSError:  # it was never made, or somebody else has put something else there
                pass
        configurations = (self.site.frontend_configuration, self.site.frontend_draft)
        for file in (*configurations, self.site.control_path, self.path / "children"):
            file.unlink(missing_ok=True)
        self.site.pid_path.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._made:
            try:
                self.path.rmdir()
            except OSError:  # somebody else keeps something here
                pass


def remove_tree(folder: Path) -> None:
    """Remove a folder that another user has filled, however deep. Raises OSError.

    No link is followed, and a folder in it is moved up to the first level before it is emptied, so that neither the
    stack, nor the descriptors, nor the length of a path set an end to it.
    """
    top = os.open(folder, _FOLDER)
    try:
        todo = _empty(top, top)
        while todo:
            name = todo.pop()
            inner = os.open(name, _FOLDER, dir_fd=top)
            try:
                todo += _empty(inner, top)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(folder)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _empty(folder: int, top: int) -> list[str]:
    """Remove the files of an open folder and move its folders into `top`; returns their new names there."""
    moved = []
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            name = f".removed-{os.urandom(8).hex()}"
            os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=top)
            moved.append(name)
        else:
            os.unlink(entry.name, dir_fd=folder)
    return moved


def _is_still(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def restore(listener: socket.socket) -> bool:
    """Undo what a child may have done to a listener that it shares; False where that cannot be undone (shutdown(2))."""
    poller = select.poll()
    poller.register(listener, select.POLLIN | select.POLLRDHUP)
    if any(events & (select.POLLHUP | select.POLLRDHUP | select.POLLERR) for _, events in poller.poll(0)):
        return False
    listener.listen(BACKLOG)
    return True


def _refuse_other_than_socket(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise RunError(f"{path} is there and is not a socket: remove it")


def _make_parents(path: Path) -> None:
    """What is missing on the way, 0755 whatever the umask: who may write there may put another directory in place."""
    if not path.exists():
        _make_parents(path.parent)
        path.mkdir(mode=0o755)
        path.chmod(0o755)


def _make_directory(path: Path) -> bool:
    """Make a directory of ours, 0755; True where it was not there. Raises RunError where others may write to it."""
    try:
        _make_parents(path.parent)
        path.mkdir(mode=0o755)
        path.chmod(0o755)
        return True
    except FileExistsError:
        pass
    except OSError as error:
        raise RunError(f"cannot make {path}: {error.strerror}; choose another run_directory") from None
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise RunError(f"{path} is not a directory that only its owner, uid {os.geteuid()}, may write to: remove it")
    return False
