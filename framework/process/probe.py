"""What this process may do, tried: a program that is started with a back end's rights in the back end's place.

    python -m framework.process.probe      attempts as JSON on descriptor 0, answers as JSON on standard output

Each attempt is harmless where it succeeds: a file is opened and closed, an empty file is made and removed, signal 0 is
sent, a socket is made and closed, a program is started in a child that is ended at once.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Final

__all__ = ["ATTEMPTS", "main"]

MISSING = "missing"
"""The answer where there was nothing to try it on; "" where it was allowed, else the kernel's reason."""


def _read(path: str) -> None:
    if os.path.isdir(path):
        os.listdir(path)
    else:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))


def _write(path: str) -> None:
    if not os.path.isdir(path):
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
        return
    trial = os.path.join(path, f".probe-{os.getpid()}")
    os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    os.unlink(trial)


def _execute(path: str) -> None:
    """Whether execve() gets as far as to begin: the pipe that it closes says so."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(5)
            os.execv(path, [path, "--version"])
        except OSError as error:
            os.write(writer, (error.errno or 0).to_bytes(2))
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:
        failure = pipe.read()
    if not failure:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if failure:
        number = int.from_bytes(failure)
        raise OSError(number, os.strerror(number))


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5)
        channel.connect(path)


def _socket(family: str) -> None:
    kind = socket.SOCK_RAW if family == "AF_NETLINK" else socket.SOCK_STREAM
    socket.socket(getattr(socket, family), kind).close()


def _signal(pid: str) -> None:
    os.kill(int(pid), 0)


def _user(uid: str) -> None:
    os.setuid(int(uid))


ATTEMPTS: Final[dict[str, Callable[[str], None]]] = {
    "read": _read,
    "write": _write,
    "execute": _execute,
    "connect": _connect,
    "socket": _socket,
    "signal": _signal,
    "become": _user,
}
"""What can be asked for: to read, write, execute or connect to a path, to make a socket of a family, to signal a
process id, to become a user id."""


def main() -> int:
    """Make the attempts, in order, and print their answers."""
    with open(0, "rb", closefd=False) as stream:
        wanted = json.load(stream)
    print(json.dumps([_attempt(kind, target) for kind, target in wanted]))
    return 0


def _attempt(kind: str, target: str) -> str:
    try:
        ATTEMPTS[kind](target)
    except (FileNotFoundError, ProcessLookupError, ConnectionRefusedError):
        return MISSING
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
