"""Listening sockets: opened with the right mode and group, inherited, and taken away by their owner only."""

from __future__ import annotations

import _socket
import errno
import os
import stat

from fastcore.addresses import FdAddress, SystemdAddress, TcpAddress, UnixAddress, parse_address
from fastcore.errors import FastCGIError

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    import socket
    from typing import Any, Self

BACKLOG = 1024  # connections that wait in the kernel; net.core.somaxconn caps it
FIRST_PASSED_FD = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START
MAX_PASSED_FDS = 1024


class ListenerError(FastCGIError):
    """The address cannot be listened on; the message says why and what to do."""


class Listener(_socket.socket):
    """A socket as the interpreter has it built in: the `socket` module costs a process that only serves 1 MB.

    All of `socket.socket` that is of use to who listens is there; `socket` itself is imported by accept().
    """

    __slots__ = ()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection and its address, as `socket.socket.accept` gives them."""
        import socket

        descriptor, address = self._accept()  # type: ignore[attr-defined]
        return socket.socket(self.family, self.type, self.proto, fileno=descriptor), address

    def get_inheritable(self) -> bool:
        """Whether a program that this process executes has it, too."""
        return os.get_inheritable(self.fileno())

    def set_inheritable(self, inheritable: bool) -> None:
        """Say so."""
        os.set_inheritable(self.fileno(), inheritable)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _is_listened_to(path: str) -> bool:
    with Listener(_socket.AF_UNIX, _socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno in (errno.EAGAIN, errno.EINPROGRESS)  # a full queue is somebody's queue
    return True


def _check_path(path: str) -> None:
    """Refuse a path that holds something else than a socket nobody listens to any more."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenerError(f"{path} exists and is no socket: give another path, or remove it")
    if _is_listened_to(path):
        raise ListenerError(f"another process listens on {path}: stop it, or give another path")


def _group_id(group: str | int | None) -> int:
    if group is None:
        return -1
    if isinstance(group, int):
        return group
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ListenerError(f"there is no group {group!r} on this system") from None


def _user_id(user: str | int | None) -> int:
    if user is None:
        return -1
    if isinstance(user, int):
        return user
    import pwd

    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ListenerError(f"there is no user {user!r} on this system") from None


def open_unix(
    path: str, *, mode: int = 0o660, group: str | int | None = None, owner: str | int | None = None
) -> Listener:
    """Listen on a unix socket; a stale one is replaced in one step, so that nobody meets half-made rights.

    Args:
        path: where; its directory must exist.
        mode: permission bits of the socket, whatever the umask is.
        group: name or id of the group that gets it; None for this process's own.
        owner: name or id of the user that gets it; None for this process's own. Only root may give it away.

    Raises ListenerError where something else is there, another process listens, or the rights do not allow it.
    """
    group_id, user_id = _group_id(group), _user_id(owner)
    _check_path(path)
    temporary = f"{path}.{os.getpid()}"
    listener = Listener(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        umask = os.umask(0o177)
        try:
            listener.bind(temporary)
        finally:
            os.umask(umask)
        try:
            if group_id >= 0 or user_id >= 0:
                os.chown(temporary, user_id, group_id)
            os.chmod(temporary, mode)
            listener.listen(BACKLOG)
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        listener.close()
        raise ListenerError(f"cannot listen on unix:{path}: {error.strerror or error}") from error
    return listener


def open_tcp(host: str, port: int) -> Listener:
    """Listen on a TCP port. Raises ListenerError."""
    try:
        family, kind, protocol, _, address = _socket.getaddrinfo(
            host, port, type=_socket.SOCK_STREAM, flags=_socket.AI_PASSIVE
        )[0]
        listener = Listener(family, kind | _socket.SOCK_CLOEXEC, protocol)
        try:
            listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ListenerError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener


def inherit(fd: int) -> Listener:
    """The listening socket that was handed to this process as descriptor `fd` (lighttpd's bin-path gives 0).

    Raises ListenerError where it is no listening stream socket.
    """
    try:
        listener = Listener(fileno=os.dup(fd))
    except OSError as error:
        raise ListenerError(f"descriptor {fd} is no socket: {error.strerror}") from error
    if listener.type != _socket.SOCK_STREAM or not listener.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
        listener.close()
        raise ListenerError(f"descriptor {fd} is no listening stream socket")
    return listener


def passed_sockets() -> dict[int, str]:
    """The descriptors that were passed to this process, and their names, as told by its environment (sd_listen_fds(3)).

    They become non-inheritable, and the variables are removed: a child must not take them for its own. Raises
    ListenerError where the variables are missing, malformed, or meant for another process.
    """
    told = {name: os.environ.pop(name, None) for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    pid, count, names = told.values()
    if pid is None or count is None:
        raise ListenerError(
            "no socket was passed to this process (LISTEN_FDS and LISTEN_PID are not both set): "
            "start it by a socket unit of systemd, or give another address"
        )
    if pid != str(os.getpid()):
        raise ListenerError(
            f"the passed sockets are for process {pid!r} (LISTEN_PID), and this one is {os.getpid()}: "
            "a script between systemd and the server has to exec it"
        )
    if not (count.isascii() and count.isdigit() and 0 < int(count[:9]) <= MAX_PASSED_FDS):
        raise ListenerError(f"LISTEN_FDS is a number from 1 to {MAX_PASSED_FDS}, not {count!r}")
    fds = range(FIRST_PASSED_FD, FIRST_PASSED_FD + int(count))
    words = names.split(":") if names else ["unknown"] * len(fds)
    if len(words) != len(fds):
        raise ListenerError(f"LISTEN_FDNAMES has {len(words)} names for {len(fds)} sockets: {names!r}")
    for fd in fds:
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            raise ListenerError(f"LISTEN_FDS is {count}, but descriptor {fd} is not open: {error.strerror}") from error
    return dict(zip(fds, words, strict=True))


def inherit_passed(name: str = "") -> Listener:
    """The listening socket that systemd passed under this name; without a name, the only one. Raises ListenerError."""
    sockets = passed_sockets()
    found = [fd for fd, its_name in sockets.items() if not name or its_name == name]
    if len(found) != 1:
        what = "are passed" if not name else f"are passed under the name {name!r}"
        raise ListenerError(
            f"{len(found) or 'no'} sockets {what}, and one is needed; their names are {', '.join(sockets.values())}: "
            "write systemd:NAME with one that is there once (FileDescriptorName= of the socket unit)"
        )
    return inherit(found[0])


def open_listener(
    address: str, *, mode: int = 0o660, group: str | int | None = None, owner: str | int | None = None
) -> Listener:
    """Listen on `unix:/path`, `host:port`, `fd:N` or `systemd:`. Example: ``open_listener("unix:/run/app.sock")``."""
    match parse_address(address):
        case UnixAddress(path):
            return open_unix(path, mode=mode, group=group, owner=owner)
        case TcpAddress(host, port):
            return open_tcp(host, port)
        case FdAddress(fd):
            return inherit(fd)
        case SystemdAddress(name):
            return inherit_passed(name)


class OwnedPath:
    """Remembers a unix socket's path, to remove it at the end only if it is still the same one.

    Made from an address; does nothing for others than unix sockets, or in a forked child.
    """

    def __init__(self, address: str) -> None:
        parsed = parse_address(address)
        self._path = parsed.path if isinstance(parsed, UnixAddress) else ""
        self._pid = os.getpid()
        self._inode = os.lstat(self._path).st_ino if self._path else 0

    def remove(self) -> None:
        """Unlink the socket, unless another process has put its own there since."""
        if not self._path or os.getpid() != self._pid:
            return
        try:
            if os.lstat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        except OSError:
            pass
