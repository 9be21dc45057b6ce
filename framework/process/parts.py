"""From a site to what is started: for each part its command, its rights, its environment and what it must be shown.

Decided once, before anything runs, so that every mistake (a missing user, a barred folder, a missing program) is
told at once and nothing starts. No processes here but the short trial of what a user can reach.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fastcore.values import dataclass, replace
from framework.process.credentials import check as check_credentials
from framework.process.launcher import FIRST_LISTEN_FD, Launch
from framework.process.logs import LINES_PER_SECOND
from framework.process.privileges import FRONTEND_UMASK, PrivilegeError, Privileges, caller, environment, resolve
from framework.process.runfiles import notify_directory
from framework.process.sandbox import SandboxError
from framework.process.sandbox import plan as plan_sandbox
from framework.process.tls import check as check_certificates
from framework.process.view import Tree, View, ViewError, plan
from framework.site.values import RESOURCES

if TYPE_CHECKING:
    from framework.site.schema import Backend, Site

__all__ = ["Part", "PartsError", "parts_of"]

URLS_FD = FIRST_LISTEN_FD + 1
SCOREBOARD_FD = FIRST_LISTEN_FD + 2
OUTPUT_FD = FIRST_LISTEN_FD + 3
SPARE_FILES = 64
"""Of its limit of open files that a back end keeps beside the descriptors for what its workers print."""
PROGRAM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
PRIVILEGED_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


class PartsError(Exception):
    """Why the site cannot be started: one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Part:
    """One child of the supervisor: the front end or a back end.

    argv      its command, the program by absolute path
    where     for people: "127.0.0.1:8080" or the back end's prefixes
    directory its own folder, and its home
    start_in  the folder it starts in; "" for its own
    log_rate  lines a second that it may print in the long run; 0 for no limit
    contained  what it forks ends with it, however it ends
    """

    name: str
    kind: str
    argv: tuple[str, ...]
    privileges: Privileges
    directory: str
    variables: Mapping[str, str]
    where: str
    view: View | None = None
    log_rate: int = LINES_PER_SECOND
    start_in: str = ""
    contained: bool = False

    def launch(self, descriptors: Mapping[int, int], listeners: tuple[str, ...], extra: Mapping[str, str]) -> Launch:
        """What `launcher.start` takes; `extra` are variables that differ from start to start."""
        variables = environment(self.privileges, home=self.directory, extra={**self.variables, **extra})
        return Launch(
            self.argv,
            variables,
            self.privileges,
            self.working_directory,
            self.view,
            descriptors,
            listeners,
            self.contained,
        )

    @property
    def working_directory(self) -> str:
        """The folder it starts in."""
        return self.start_in or self.directory


def outputs_of(backend: Backend, privileges: Privileges) -> int:
    """For how many workers a back end gets descriptors of their own to print to, so that no line cuts another's.

    None where it serves by itself, or where they would take too many of the files that it may open.
    """
    has_workers = backend.workers > 1 or backend.max_requests or backend.max_memory
    limit = dict(privileges.limits).get(resource.RLIMIT_NOFILE, 0)
    return backend.workers if has_workers and limit >= SPARE_FILES + 2 * backend.workers else 0


def parts_of(site: Site) -> list[Part]:
    """All parts of a site, the front end first. Raises PartsError with every problem found."""
    problems: list[str] = []
    parts: list[Part] = []
    for backend in (None, *site.backends.values()):
        try:
            parts.append(frontend_part(site) if backend is None else backend_part(site, backend))
        except (PrivilegeError, ViewError, SandboxError, PartsError) as error:
            problems.append(str(error))
    if problems:
        raise PartsError(problems)
    return parts


def frontend_privileges(site: Site) -> Privileges:
    """The rights of the front end: its user; on a port below 1024 the one capability to bind it."""
    if os.geteuid() != 0:
        return caller(umask=FRONTEND_UMASK)
    low_port = any(listen.port < _first_unprivileged_port() for listen in site.addresses)
    return resolve(
        site.frontend_user,
        site.frontend_group,
        capabilities=("net_bind_service",) if low_port else (),
        umask=FRONTEND_UMASK,
    )


def _first_unprivileged_port() -> int:
    try:
        return int(Path(PRIVILEGED_PORTS).read_text())
    except (OSError, ValueError):
        return 1024


def frontend_part(site: Site) -> Part:
    """The front end of a site, run by the supervisor in the foreground."""
    privileges = frontend_privileges(site)
    problems = check_certificates(site)
    if problems:
        raise PartsError(problems)
    from framework.frontends.servers import SERVERS

    program, server = find_program(site.frontend), SERVERS[site.frontend]
    trees = [Tree(str(host.static)) for host in site.hosts if host.static is not None]
    trees += [Tree(str(foreign.root)) for foreign in site.foreign.values() if foreign.root is not None]
    trees += [Tree(str(site.run_directory)), Tree(str(site.frontend_directory), writable=True)]
    part = Part(
        name=site.frontend,
        kind="frontend",
        argv=server.command(program, site.frontend_configuration),
        privileges=privileges,
        directory="/",
        variables={},
        where=", ".join(map(str, site.addresses)),
        contained=privileges.switch and server.forks,
    )
    return with_view(part, trees)


def find_program(name: str) -> str:
    """A program of the system by absolute path, whatever the caller's PATH says. Raises PartsError."""
    for directory in PROGRAM_DIRECTORIES:
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    raise PartsError(
        [f"{name} is not installed: 'apt-get install {name}', or use 'sitectl dev', which needs no front end"]
    )


def backend_part(site: Site, backend: Backend, *, describe: bool = False) -> Part:
    """One back end, as the interpreter that runs this very program.

    `describe` is for an import that only tells its URLs: then the state directory need not be there yet.
    """
    problems = [] if describe or site.development else check_credentials(backend)
    if problems:
        raise PartsError(problems)
    privileges = _backend_privileges(site, backend, describe=describe)
    prefixes = [f"{mount.host}{mount.prefix or '/'}" for mount in site.mounts if mount.backend == backend.name]
    part = Part(
        name=backend.name,
        kind="backend",
        argv=(sys.executable, "-P", "-s", "-m", "framework.process.backend", backend.name),
        privileges=privileges,
        directory=str(backend.state_directory),
        variables={**interpreter_variables(), **_temporary_directory(backend, privileges), **backend.environment},
        where=", ".join(prefixes),
        log_rate=backend.log_rate,
        start_in=str(backend.working_directory or ""),
    )
    if describe and not os.path.isdir(part.directory):
        part = replace(part, directory="/")
    else:
        _check_state_directory(part)
    trees = [*code_trees(), *(Tree(str(folder)) for folder in backend.path)]
    trees += [Tree(str(site.urls_directory)), Tree(str(notify_directory(site)))]
    if part.directory != "/":
        trees.append(Tree(part.directory, writable=True))
    if part.start_in:
        trees.append(Tree(part.start_in))
    return with_view(part, trees)


def _backend_privileges(site: Site, backend: Backend, *, describe: bool) -> Privileges:
    root = os.geteuid() == 0
    if not root and backend.capabilities:
        raise PrivilegeError(f"back end {backend.name!r}: capabilities can only be given by root")
    if root:
        rights = resolve(
            backend.user,
            backend.group,
            groups=backend.groups,
            capabilities=backend.capabilities,
            umask=backend.umask,
        )
    else:
        rights = caller(umask=backend.umask)
    limits = {
        **dict(rights.limits),
        **{getattr(resource, RESOURCES[name][0]): at for name, at in backend.limits.items()},
    }
    code = [*(tree.path for tree in code_trees()), *map(str, backend.path), str(site.urls_directory)]
    secrets = [str(site.credentials_path(backend.name))] if backend.credentials and not describe else []
    python = os.path.abspath(sys.executable)
    sandbox = (
        None
        if site.development
        else plan_sandbox(backend, code=[*_narrowed(code), *secrets], packages=(_package_root(),), python=python)
    )
    return replace(rights, nice=backend.nice, sandbox=sandbox, limits=tuple(limits.items()))


def _narrowed(paths: Iterable[str]) -> Iterator[str]:
    """Without the system's own prefixes: of these a sandbox shows the libraries, not the programs and documents."""
    for path in paths:
        if os.path.realpath(path) not in ("/", "/usr", "/usr/local") and os.path.exists(path):
            yield path


def _temporary_directory(backend: Backend, privileges: Privileges) -> dict[str, str]:
    """Where the sandbox closes /tmp, temporary files go into the back end's own folder."""
    if privileges.sandbox is None or backend.private_tmp:
        return {}
    return {"TMPDIR": str(backend.state_directory)}


def _check_state_directory(part: Part) -> None:
    try:
        found = os.stat(part.directory)
    except OSError as error:
        hint = "'sitectl setup' makes it"
        raise PartsError(
            [f"back end {part.name!r}: state directory {part.directory}: {error.strerror}: {hint}"]
        ) from None
    mode, rights = found.st_mode & 0o777, part.privileges
    if found.st_uid != rights.uid or mode & 0o077:
        what = f"back end {part.name!r}: state directory {part.directory} has mode {mode:04o} and owner {found.st_uid}"
        raise PartsError([f"{what}, not 0700 and {rights.uid} ({rights.user}): 'sitectl setup' sets it right"])


def with_view(part: Part, trees: list[Tree]) -> Part:
    """The part with a view of what is barred to its user. Raises ViewError."""
    if not part.privileges.switch:
        return part
    rights = part.privileges
    present = [tree for tree in trees if os.path.exists(tree.path)]
    return replace(part, view=plan(present, rights.user, rights.uid, rights.gid, rights.groups))


def interpreter_variables() -> dict[str, str]:
    """Variables of the interpreter: print at once, write no caches (it could not), find this very package."""
    return {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": _package_root()}


def _package_root() -> str:
    return str(Path(__file__).resolve().parents[2])


def code_trees() -> Iterator[Tree]:
    """Where the interpreter, the installed packages and this project's own code lie."""
    import fastcore
    import framework

    packages = (os.path.dirname(file) for module in (framework, fastcore) if (file := module.__file__))
    for path in (sys.executable, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, *packages):
        yield Tree(os.path.abspath(path))
