"""What a site needs of the system before it can run, and its undo: users, groups, directories.

`setup_steps` compares the system with the site and gives one `Step` for each thing, done or not; applying a step
that is done changes nothing. What a step makes is noted in `setup.json` of the site's state directory, and
`removal_steps` undoes exactly that: it never removes a user, group or directory that was there before.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.process import accounts
from framework.process.runfiles import remove_tree, write_file

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["InstallError", "Record", "Step", "removal_steps", "setup_steps"]

RECORD_NAME = "setup.json"
MAX_RECORD_BYTES = 1 << 20
VERSION = 1
MAX_COUNTED = 100_000
"""Files and folders counted before a removal; the question is the same for more."""


class InstallError(Exception):
    """A step cannot be taken; says what is in its way."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to make or remove.

    text      what: "user appliance-status"
    done      it is so already
    note      how it stands, for people
    destroys  something that setup has not made would be lost
    """

    text: str
    done: bool
    apply: Callable[[], None]
    note: str = ""
    destroys: bool = False


@dataclass(slots=True)
class Record:
    """What setup has made: names with their ids, directories in the order made."""

    path: Path
    users: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, site: Site) -> Record:
        """Read it; empty where setup has made nothing yet. Raises InstallError for a file that setup did not write."""
        path = site.state_directory / RECORD_NAME
        try:
            with open(path, "rb") as file:
                data = json.loads(file.read(MAX_RECORD_BYTES))
            return cls(path, *_checked(data))
        except FileNotFoundError:
            return cls(path)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InstallError(
                f"{path} cannot be read: {error!r}; it tells what to remove, so nothing is done"
            ) from None

    def save(self) -> None:
        """Write it for root alone, where its directory exists."""
        content = {"version": VERSION, "users": self.users, "groups": self.groups, "directories": self.directories}
        if self.path.parent.is_dir():
            write_file(self.path, json.dumps(content, indent=1).encode() + b"\n", 0o600)

    def __bool__(self) -> bool:
        return bool(self.users or self.groups or self.directories)


def _checked(data: Any) -> tuple[dict[str, int], dict[str, int], list[str]]:
    if data["version"] != VERSION:
        raise ValueError(f"version {data['version']!r}")
    users = {str(name): int(number) for name, number in data["users"].items()}
    groups = {str(name): int(number) for name, number in data["groups"].items()}
    return users, groups, [str(path) for path in data["directories"]]


# ---- setup ---------------------------------------------------------------------------------------


def setup_steps(site: Site, record: Record) -> Iterator[Step]:
    """The steps in their order, none twice. Lazily: a step may look at what the one before has made."""
    told: set[str] = set()
    for step in _setup_steps(site, record):
        if step.text not in told:
            told.add(step.text)
            yield step


def _setup_steps(site: Site, record: Record) -> Iterator[Step]:
    yield from _public_directories(site.state_directory, record)
    for group in (site.frontend_group, *(backend.group for backend in site.backends.values())):
        yield _group_step(group, record)
    yield _user_step(site.frontend_user, site.frontend_group, f"{site.name} front end", record)
    for backend in site.backends.values():
        yield _user_step(backend.user, backend.group, f"{site.name} back end {backend.name}", record)
    for backend in site.backends.values():
        yield from _public_directories(backend.state_directory.parent, record)
        yield _private_directory(backend.state_directory, backend.user, backend.group, record)
    yield from _public_directories(site.run_directory, record)
    yield from _public_directories(site.sockets_directory, record)


def _group_step(name: str, record: Record) -> Step:
    def apply() -> None:
        record.groups[name] = accounts.add_group(name)
        record.save()

    gid = accounts.group_id(name)
    return Step(f"group {name}", gid is not None, apply, f"gid {gid}" if gid is not None else "")


def _user_step(name: str, group: str, comment: str, record: Record) -> Step:
    def apply() -> None:
        record.users[name] = accounts.add_user(name, group, comment)
        record.save()

    uid = accounts.user_id(name)
    note = f"uid {uid}" if uid is not None else f"system user, no login, group {group}"
    return Step(f"user {name}", uid is not None, apply, note)


def _public_directories(path: Path, record: Record) -> Iterator[Step]:
    """The directory and the missing ones above it: root's, 0755. Existing ones are left as they are."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        yield Step(f"directory {folder}", False, lambda folder=folder: _make(folder, 0o755, record), "root, 0755")  # type: ignore[misc]
    if not missing:
        yield Step(f"directory {path}", True, lambda: None)


def _make(folder: Path, mode: int, record: Record) -> None:
    folder.mkdir(mode=mode)
    folder.chmod(mode)
    record.directories.append(str(folder))
    record.save()


def _private_directory(path: Path, user: str, group: str, record: Record) -> Step:
    def apply() -> None:
        if not path.exists():
            _make(path, 0o700, record)
        uid, gid = accounts.user_id(user), accounts.group_id(group)
        if uid is None or gid is None:
            raise InstallError(f"user {user!r} or group {group!r} is not there")
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, 0o700)
        finally:
            os.close(descriptor)

    return Step(f"directory {path}", _is_private(path, user), apply, f"{user}, 0700")


def _is_private(path: Path, user: str) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise InstallError(f"{path} is not a directory: remove it")
    return found.st_uid == accounts.user_id(user) and stat.S_IMODE(found.st_mode) == 0o700


# ---- remove --------------------------------------------------------------------------------------


def removal_steps(record: Record) -> Iterator[Step]:
    """The undo of what is on record; the directory with the record goes last, so that a failed removal can be repeated.

    `destroys` marks a directory with something in it.
    """
    for name, uid in record.users.items():
        if accounts.user_id(name) == uid and (running := accounts.processes_of(uid)):
            raise InstallError(
                f"user {name} still has processes ({', '.join(map(str, running))}): 'sitectl stop' first"
            )
    for name, uid in record.users.items():
        yield _user_removal(name, uid)
    for name, gid in record.groups.items():
        yield _group_removal(name, gid, record)
    outermost = _outermost(record.directories)
    for path in sorted(outermost, key=lambda path: record.path.is_relative_to(path)):
        yield _directory_removal(Path(path), record)


def _outermost(directories: list[str]) -> list[str]:
    """Those not inside another: removing these removes all."""
    return [path for path in directories if not any(path.startswith(other + "/") for other in directories)]


def _directory_removal(path: Path, record: Record) -> Step:
    inside = {record.path, *map(Path, record.directories)}
    foreign = _count_foreign(path, {str(known) for known in inside})
    many = "more than " if foreign > MAX_COUNTED else ""
    note = f"with {many}{min(foreign, MAX_COUNTED)} files and folders in it" if foreign else "empty"
    return Step(f"directory {path}", not path.is_dir(), lambda: remove_tree(path), note, destroys=bool(foreign))


def _count_foreign(path: Path, known: set[str]) -> int:
    """How many files and folders lie below, without the known ones and without following links; counts to a limit."""
    count, todo = 0, [str(path)]
    while todo and count <= MAX_COUNTED:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    count += entry.path not in known
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:  # deeper than a path can say: what leads there is counted
            pass
    return count


def _user_removal(name: str, uid: int) -> Step:
    found = accounts.user_id(name)
    note = f"uid {uid}" if found == uid else "is not the one that setup made" if found is not None else ""
    return Step(f"user {name}", found != uid, lambda: accounts.remove_user(name), note)


def _group_removal(name: str, gid: int, record: Record) -> Step:
    def apply() -> None:
        if accounts.group_id(name) == gid:  # userdel may have taken a user's own group with it
            accounts.remove_group(name)

    found = accounts.group_id(name)
    if found != gid:
        return Step(f"group {name}", True, apply, "is not the one that setup made" if found is not None else "")
    others = [user for user, uid in accounts.members_of(gid) if record.users.get(user) != uid]
    if others:
        return Step(f"group {name}", True, apply, f"is the group of {', '.join(others)}")
    return Step(f"group {name}", False, apply, f"gid {gid}")
