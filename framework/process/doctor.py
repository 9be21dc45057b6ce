"""The privilege map of a running site: what each of its processes may do, asked of the kernel, beside its declaration.

Ids, groups, capabilities and filters are read from /proc of the very processes. What may be opened, started, reached
and signalled is tried, by a small program of this package that is started with the same rights in the same way
(`probe`); who may connect to a socket is tried as each user of the site. Nothing here changes anything, or believes
a back end.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import socket
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.process import linux
from framework.process.launcher import LaunchError, sealed_file, start
from framework.process.parts import Part
from framework.process.poller import collect
from framework.process.probe import MISSING
from framework.process.proof import compare, read_status
from framework.process.runfiles import kill_session
from framework.process.sandbox import TEMPORARY

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["Examined", "Try", "examine"]

PROBE_SECONDS = 30.0
MAX_ANSWER_BYTES = 1 << 20
BEGIN_AND_NOTHING = bytes([1, 9, 0, 0, 0, 0, 0, 0])  # an empty GET_VALUES: whoever is let in gets an answer
FAMILIES = ("AF_INET", "AF_INET6", "AF_NETLINK")
OTHERWISE_LISTED = ("/", "/etc", "/home", "/proc", "/var/log", "/usr/bin")
OTHERWISE_WRITTEN = (*TEMPORARY, "/dev/shm")  # noqa: S108 (it is what must not be possible)
"""What every user of a usual system may list, and write to."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt: what (`read`, `write`, …) on what, whether the declaration allows it, and what the kernel said."""

    kind: str
    target: str
    declared: bool
    answer: str

    @property
    def allowed(self) -> bool:
        return not self.answer

    @property
    def is_wider(self) -> bool:
        """Allowed by the kernel, not by the declaration."""
        return self.allowed and not self.declared

    @property
    def is_narrower(self) -> bool:
        """Declared, but the kernel refuses it."""
        return self.declared and bool(self.answer) and self.answer != MISSING


@dataclass(slots=True)
class Examined:
    """One part of the site as it runs.

    `wider` has a line for everything beyond the declaration, `notes` what else there is to know.
    """

    name: str
    kind: str
    where: str
    pids: list[int]
    user: str
    uid: int
    group: str
    gid: int
    groups: list[str]
    capabilities: list[str]
    no_new_privileges: bool
    filtered: bool
    sandboxed: bool
    tries: list[Try] = field(default_factory=list)
    socket: str = ""
    socket_mode: str = ""
    may_connect: list[str] = field(default_factory=list)
    wider: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sleeps: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"tries": [asdict(each) | {"allowed": each.allowed} for each in self.tries]}


def examine(site: Site, parts: list[Part], answer: dict[str, Any]) -> list[Examined]:
    """Examine every part of a running site.

    parts   as the site file declares them now
    answer  the supervisor's status with the processes of each part (`memory.add_memory`)
    """
    running = {part["name"]: part for part in answer["parts"]}
    found = []
    for part in parts:
        told = running.get(part.name, {"pid": None, "processes": []})
        examined = _from_kernel(part, told["processes"])
        examined.where = told.get("where", part.where)  # which an option of `sitectl run` may have moved
        examined.sleeps = told.get("state") == "asleep"
        if examined.sleeps:
            examined.notes.append("on demand, asleep until somebody asks for it: nothing of it can be examined")
        elif not told["pid"]:
            examined.notes.append("does not run: nothing of it can be examined")
        elif part.kind == "backend":
            _try_all(site, part, parts, answer, examined)
            _look_at_socket(site, part, parts, examined)
        if told["pid"] and _is_on_demand(site, part) and not os.path.exists(f"/proc/{told['pid']}"):
            examined = _from_kernel(part, [])
            examined.sleeps = True
            examined.notes.append("on demand, fell asleep while it was looked at: look again")
        found.append(examined)
    return found


def _is_on_demand(site: Site, part: Part) -> bool:
    backend = site.backends.get(part.name) if part.kind == "backend" else None
    return backend is not None and backend.processes == "ondemand"


# ---- what /proc says -----------------------------------------------------------------------------


def _from_kernel(part: Part, pids: list[int]) -> Examined:
    """Every process of the part against the declaration; what is shown is what the first one, its main process, has."""
    declared = part.privileges.to_spec()
    statuses = {}
    for pid in pids:
        try:
            statuses[pid] = read_status(pid)
        except OSError:  # it has ended meanwhile
            continue
    first = next(iter(statuses.values()), {})
    uid = int(first.get("Uid", "-1").split()[0])
    gid = int(first.get("Gid", "-1").split()[0])
    effective = int(first.get("CapEff", "0"), 16)
    examined = Examined(
        name=part.name,
        kind=part.kind,
        where=part.where,
        pids=list(statuses),
        user=_user_name(uid),
        uid=uid,
        group=_group_name(gid),
        gid=gid,
        groups=[_group_name(int(number)) for number in first.get("Groups", "").split() if int(number) != gid],
        capabilities=[name for name, number in linux.CAPABILITIES.items() if effective >> number & 1],
        no_new_privileges=first.get("NoNewPrivs") == "1",
        filtered=first.get("Seccomp") == "2",
        sandboxed=part.privileges.sandbox is not None,
    )
    for pid, status in statuses.items():
        examined.wider += [f"process {pid}: {problem}" for problem in compare(declared, status)]
    if part.privileges.sandbox is not None:
        examined.notes += part.privileges.sandbox.shortcomings
    elif part.kind == "backend":
        examined.notes.append("has no sandbox (sandbox = false): it may do whatever its user may")
    return examined


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return str(gid)


# ---- what is tried -------------------------------------------------------------------------------


def _try_all(site: Site, part: Part, parts: list[Part], answer: dict[str, Any], examined: Examined) -> None:
    wanted = list(dict.fromkeys(_attempts(site, part, parts, answer)))
    try:
        answers = _probe(part, [(kind, target) for kind, target, _ in wanted])
    except (LaunchError, ValueError, OSError) as error:
        examined.notes.append(f"nothing could be tried with its rights: {error}")
        return
    examined.tries = [Try(*each, reason) for each, reason in zip(wanted, answers, strict=True)]
    for each in examined.tries:
        if each.is_wider:
            examined.wider.append(f"may {each.kind} {each.target}, which is not declared")
        elif each.is_narrower:
            examined.notes.append(f"may not {each.kind} {each.target}, which is declared: {each.answer}")


def _attempts(site: Site, part: Part, parts: list[Part], answer: dict[str, Any]) -> Iterable[tuple[str, str, bool]]:
    """(what, on what, whether it is declared); only what the declaration decides, so less where there is no sandbox."""
    backend = site.backends[part.name]
    separate = part.privileges.switch
    boxed = part.privileges.sandbox is not None
    readable = [*map(str, (*backend.path, *backend.read, *backend.write)), str(backend.state_directory)]
    if backend.credentials:
        readable.append(str(site.credentials_path(part.name)))
    writable = [*map(str, backend.write), str(backend.state_directory)]
    for path in dict.fromkeys(readable):
        yield "read", path, True
        yield "write", path, _is_below(path, writable)
    for other in parts:
        if other.kind == "backend" and other.name != part.name:
            state = str(site.backends[other.name].state_directory)
            shared = other.privileges.uid == part.privileges.uid
            if site.backends[other.name].credentials and (boxed or not shared):
                yield "read", str(site.credentials_path(other.name)), False
            if boxed or not shared:
                yield "read", state, _is_below(state, readable)
                yield "write", state, _is_below(state, writable)
    if separate:
        for name in site.backends:
            yield "connect", str(site.socket_path(name)), False
        yield "connect", str(site.control_path), False
        for place in (site.run_directory, site.sockets_directory, site.urls_directory, site.file):
            yield "write", str(place), _is_below(str(place), writable)
        yield "become", "0", False
        for pid in (answer["pid"], *(told["pid"] for told in answer["parts"])):
            own = any(told["pid"] == pid and told["name"] == part.name for told in answer["parts"])
            if pid and not own:
                yield "signal", str(pid), False
        yield "read", "/etc/shadow", False
    if boxed:
        for path in OTHERWISE_LISTED:
            yield "read", path, _is_below(path, readable)
        for path in OTHERWISE_WRITTEN:
            yield "write", path, _is_below(path, writable) or (backend.private_tmp and path in TEMPORARY)
        for path in ("/bin/sh", "/usr/bin/env"):
            yield (
                "execute",
                path,
                _is_below(os.path.realpath(path), [os.path.realpath(each) for each in backend.execute]),
            )
        for family in FAMILIES:
            yield "socket", family, backend.network


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _probe(part: Part, wanted: list[tuple[str, str]]) -> list[str]:
    """Start the probe as the part is started, and read its answers. Raises LaunchError, OSError, ValueError."""
    interpreter = part.argv[0]
    probing = replace(part, argv=(interpreter, "-P", "-s", "-m", "framework.process.probe"))
    questions = sealed_file("attempts", json.dumps(wanted).encode())
    try:
        started = start(probing.launch({0: questions}, (), {}))
    finally:
        os.close(questions)
    try:
        return _answers(started.output, started.errors, len(wanted))
    finally:
        kill_session(started.pid)
        os.waitpid(started.pid, 0)
        os.close(started.output)
        os.close(started.errors)


def _answers(output: int, errors: int, count: int) -> list[str]:
    try:
        received = collect((output, errors), PROBE_SECONDS, MAX_ANSWER_BYTES)
    except TimeoutError:
        raise ValueError(f"the probe did not end within {PROBE_SECONDS:g} s") from None
    try:
        answers = json.loads(received[output])
    except ValueError:
        said = received[errors].decode("utf-8", "replace").strip().splitlines()
        raise ValueError(said[-1] if said else "the probe said nothing") from None
    if not isinstance(answers, list) or len(answers) != count:
        raise ValueError("the probe gave another number of answers than it was asked for")
    return [str(each) for each in answers]


# ---- sockets -------------------------------------------------------------------------------------


def _look_at_socket(site: Site, part: Part, parts: list[Part], examined: Examined) -> None:
    path = site.socket_path(part.name)
    frontend = parts[0].privileges
    examined.socket = str(path)
    try:
        found = path.stat()
    except OSError as error:
        examined.notes.append(f"its socket {path}: {error.strerror}")
        return
    mode = stat.S_IMODE(found.st_mode)
    examined.socket_mode = f"{mode:04o} {_user_name(found.st_uid)}:{_group_name(found.st_gid)}"
    if mode & 0o007 or found.st_uid != os.geteuid() or (frontend.switch and found.st_gid != frontend.gid):
        declared = f"0660 {_user_name(os.geteuid())}:{frontend.group}"
        examined.wider.append(f"its socket {path} is {examined.socket_mode}, declared {declared}")
    for folder in (path.parent, path.parent.parent):
        above = folder.stat()
        if above.st_mode & 0o022 or above.st_uid not in (0, os.geteuid()):
            examined.wider.append(
                f"the folder {folder} of its socket can be written by others ({above.st_mode & 0o777:04o})"
            )
    if not frontend.switch:
        return
    for user, uid, gid, groups in _users_of(parts):
        if _is_served(path, uid, gid, groups):
            examined.may_connect.append(user)
            if uid not in (frontend.uid, 0):
                examined.wider.append(f"user {user} may connect to {path}")
    if frontend.user not in examined.may_connect:
        examined.notes.append(f"the front end's user {frontend.user} got no answer from {path}")
    if _user_name(0) not in examined.may_connect:
        examined.notes.append(f"root, whom 'sitectl call' is for, got no answer from {path}")


def _users_of(parts: list[Part]) -> Iterable[tuple[str, int, int, tuple[int, ...]]]:
    """Every user of the site, root, and two strangers: nobody, and somebody with the front end's group alone."""
    for part in parts:
        rights = part.privileges
        yield rights.user, rights.uid, rights.gid, rights.groups
    yield _user_name(0), 0, 0, ()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return
    yield nobody.pw_name, nobody.pw_uid, nobody.pw_gid, ()
    yield f"nobody with group {parts[0].privileges.group}", nobody.pw_uid, parts[0].privileges.gid, ()


def _is_served(path: Path, uid: int, gid: int, groups: tuple[int, ...]) -> bool:
    """Whether this user gets an answer from the socket: tried by a child that is that user."""
    child = os.fork()
    if not child:  # pragma: no cover - another process, out of sight of the parent's coverage
        answered = False
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(PROBE_SECONDS)
                channel.connect(str(path))
                channel.sendall(BEGIN_AND_NOTHING)
                answered = bool(channel.recv(1))
        except OSError:
            pass
        finally:
            os._exit(0 if answered else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
