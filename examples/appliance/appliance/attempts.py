"""A back end tries what it must not be able to do, and tells what the kernel answered.

Each attempt is harmless where it succeeds: a folder is listed, a signal 0 is sent, a file is opened and closed, an
empty file is made and removed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from appliance.places import Place
from appliance.proc import user_name
from fastcore.values import dataclass


@dataclass(frozen=True, slots=True)
class Attempt:
    """`allowed` is None where there was nothing to try it on; `answer` is the kernel's."""

    what: str
    target: str
    allowed: bool | None
    answer: str


def make(other: str, place: Place, file: str | None = None) -> list[Attempt]:
    """Tries all on the back end named `other`, with what is known of it; `file` is a file that it keeps."""
    folder = place.state_directory
    attempts = [
        _on_path(f"List the folder of {other}", folder, _list),
        _on_path(f"Write into the folder of {other}", folder, _write_into),
        _on_path(f"Connect to the socket of {other}", place.socket, _connect),
        _on_path("Read the machine's passwords", Path("/etc/shadow"), _open),
        _on_path("Change its own program", Path(__file__), _open_for_writing),
        _try("Become root", "user id 0", _become_root),
    ]
    if file and folder:
        attempts.insert(1, _on_path(f"Read the database of {other}", folder / file, _open))
    pid = place.pid
    if pid is not None:
        attempts.insert(-3, _try(f"Send a signal to {other}", f"process {pid}", lambda: os.kill(pid, 0)))
    return attempts


def _on_path(what: str, path: Path | None, act: Callable[[Path], str | None]) -> Attempt:
    if path is None:
        return Attempt(what, "unknown", None, "Not tried: where it lies is not known here.")
    return _try(what, str(path), lambda: act(path))


def _try(what: str, target: str, act: Callable[[], str | None]) -> Attempt:
    try:
        answer = act()
    except (FileNotFoundError, ProcessLookupError, ConnectionRefusedError) as error:
        return Attempt(what, target, None, f"Nothing there: {error.strerror}.")
    except OSError as error:
        return Attempt(what, target, False, f"{error.strerror} (error {error.errno})")
    return Attempt(what, target, True, answer or "The kernel allowed it.")


def _list(folder: Path) -> str:
    return f"It holds {len(os.listdir(folder))} files."


def _write_into(folder: Path) -> str | None:
    probe = folder / f".attempt-{os.getpid()}"
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    probe.unlink()
    return None


def _open(path: Path) -> str | None:
    os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    return None


def _open_for_writing(path: Path) -> str | None:
    os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    return None


def _connect(path: Path) -> str | None:
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(1.0)
        client.connect(str(path))
    return None


def _become_root() -> str | None:
    if os.geteuid() == 0:
        return f"It is {user_name(0)} already."
    os.setuid(0)
    return None
