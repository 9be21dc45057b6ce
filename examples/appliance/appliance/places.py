"""Where the things of this site lie, as far as this process can tell."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from appliance.parts import Part
from appliance.proc import Machine, read
from fastcore.values import dataclass

MAX_DESCRIPTORS = 1024


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a back end; None for what is not."""

    state_directory: Path | None
    pid: int | None
    socket: Path | None


def state_directory() -> Path:
    """This back end's own folder: STATE_DIRECTORY, or where it was started if that is a folder for this user alone.

    Raises RuntimeError where there is none.
    """
    given = os.environ.get("STATE_DIRECTORY")
    if given:
        return Path(given)
    here = Path.cwd()
    facts = here.stat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise RuntimeError(
            f"{here} is no folder for this user alone; start this back end by sitectl, or set STATE_DIRECTORY"
        )
    return here


def of(name: str, found: Sequence[Part], machine: Machine) -> Place:
    """Another back end of this site. Its folder and socket lie beside ours."""
    pid = next((part.pid for part in found if part.backend == name), None)
    try:
        folder = state_directory().parent / name
    except (OSError, RuntimeError):
        folder = None
    ours = own_socket(machine)
    return Place(folder, pid, ours.with_name(f"{name}.sock") if ours else None)


def own_socket(machine: Machine) -> Path | None:
    """The unix socket this process listens on: one of its descriptors that the kernel lists with a path."""
    paths = parse_unix_sockets(read(machine.proc / "net/unix"))
    try:
        descriptors = os.listdir(machine.proc / "self/fd")[:MAX_DESCRIPTORS]
    except OSError:
        return None
    for descriptor in descriptors:
        try:
            target = os.readlink(machine.proc / "self/fd" / descriptor)
        except OSError:
            continue
        path = paths.get(target.removeprefix("socket:[").removesuffix("]"))
        if path is not None:
            return Path(path)
    return None


def parse_unix_sockets(text: str) -> dict[str, str]:
    """/proc/net/unix: paths by inode, of those that listen ("00010000" in the column of flags)."""
    lines = (re.split(" +", line, maxsplit=7) for line in text.splitlines())
    return {words[6]: words[7] for words in lines if len(words) == 8 and words[3] == "00010000" and words[7][:1] == "/"}
