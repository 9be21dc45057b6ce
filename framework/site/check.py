"""What only the system can say about a site: accounts, folders, the port, the applications' files.

Nothing is changed, and nothing of an application is imported: its module is looked for as Python would, and its source
is only parsed. All findings come back at once, as `Problem`s: an error would keep the site from running, a warning is a
risk, a note tells what `sitectl setup` or `sitectl run` will do about it. The front end and the routes have checks of
their own: `framework.frontends.check` and `framework.site.routes`.
"""

from __future__ import annotations

import ast
import errno
import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from framework.site import access, modules, ports
from framework.site.access import Account
from framework.site.lines import find_lines
from framework.site.loader import load_site
from framework.site.problems import Level, Problem, SiteError
from framework.site.schema import Backend, Foreign, Host, Listen, Site
from framework.site.tables import Findings, nearest
from framework.site.values import MAX_PAGE_BYTES

MAX_STATIC_FILES: Final = 5000
MAX_FILES_SHOWN: Final = 5
MAX_SOURCE_BYTES: Final = 1 << 20
_SETUP: Final = "sitectl setup creates it"


def check_site(site: Site) -> list[Problem]:
    """Everything the system has to say about a loaded site, in the order of its file; `site.remarks` not included.

    >>> [str(problem) for problem in check_site(load("site.toml"))]
    ['site.toml:4: error: site.listen: 127.0.0.1:8080 is taken by python3 (pid 4711); choose another port']
    """
    findings = findings_of(site)
    _check_site_file(site, findings)
    for listen in site.addresses:
        _check_listen(site, listen, findings)
    _check_control_group(site, findings)
    _check_log(site, findings)
    _check_directories(site, findings)
    frontend = _check_account(site.frontend_user, site.frontend_group, findings, ("site",), "site.frontend_")
    for index, host in enumerate(site.hosts):
        _check_static(host, frontend, findings, ("host", index))
        _check_certificate(site, host, findings, ("host", index))
        _check_page(host, findings, ("host", index))
    for foreign in site.foreign.values():
        _check_foreign(site, foreign, frontend, findings)
    for backend in site.backends.values():
        _check_backend(site, backend, findings)
    return findings.in_file_order()


def findings_of(site: Site) -> Findings:
    """An empty list of findings that knows the lines of the site's file."""
    findings = Findings(os.path.relpath(site.file) if site.file.is_relative_to(Path.cwd()) else str(site.file))
    findings.lines = _lines_of(site.file)
    findings.overridden = _overridden(site)
    return findings


def _lines_of(file: Path) -> dict[tuple[str | int, ...], int]:
    try:
        text = file.read_text("utf-8")
        return find_lines(text, tomllib.loads(text))
    except (OSError, ValueError):
        return {}


def _overridden(site: Site) -> frozenset[tuple[str | int, ...]]:
    """The keys of [site] whose values do not come from the file, so that no line of it is blamed."""
    try:
        own = load_site(site.file)
    except SiteError:
        return frozenset()
    keys = ("listen", "also_listen", "run_directory", "state_directory", "frontend_user", "frontend_group")
    changed = {"listen" if key == "also_listen" else key for key in keys if getattr(own, key) != getattr(site, key)}
    return frozenset(("site", key) for key in changed)


def _check_site_file(site: Site, findings: Findings) -> None:
    """Who can write the site file decides what root starts."""
    for path in (site.file, site.file.parent):
        if access.writable_by_others(path):
            findings.note((), "", f"{path} can be written by everybody", f"chmod o-w {path}", "warning")


# -- the address


def _check_control_group(site: Site, findings: Findings) -> None:
    if site.control_group and not access.group_exists(site.control_group):
        hint = f"groupadd --system {site.control_group}, and usermod -aG {site.control_group} for each member"
        findings.note(("site", "control_group"), "site.control_group", f"there is no group {site.control_group}", hint)


def _check_log(site: Site, findings: Findings) -> None:
    folder = Path(site.log).parent
    place = (("site", "log"), "site.log")
    if not site.log.startswith("/"):
        return
    if not folder.is_dir():
        findings.note(*place, f"there is no folder {folder}", f"mkdir {folder}, or choose another place")
    elif access.writable_by_others(folder):
        reason = f"everybody may write to {folder}, and so keep the log from being opened"
        findings.note(*place, reason, "choose a folder that belongs to root, such as /var/log", "warning")


def _check_listen(site: Site, listen: Listen, findings: Findings) -> None:
    key = "listen_tls" if listen.tls else "listen"

    def note(reason: str, hint: str = "", level: Level = "error") -> None:
        findings.note(("site", key), f"site.{key}", reason, hint, level)

    if listen.port < ports.first_unprivileged_port() and os.geteuid() != 0:
        note(f"port {listen.port} needs root", "run sitectl as root, or choose a port from 1024", "warning")
    else:
        failure = ports.try_bind(listen.address, listen.port)
        if failure == errno.EADDRINUSE and ports.answers(site.control_path):
            note(f"the site runs already on {listen}", level="note")
        elif failure == errno.EADDRINUSE:
            holder = ports.holder_of(listen.port)
            by = f" by {holder}" if holder else ""
            note(f"{listen} is taken{by}", "choose another port, or stop what holds it")
        elif failure == errno.EADDRNOTAVAIL:
            note(f"{listen.address} is not an address of this machine", 'ip address shows them; "*" is every one')
        elif failure:
            note(f"{listen} cannot be used: {os.strerror(failure)}")
    if not listen.is_loopback and not listen.tls:
        note(f"{listen} can be reached from the network, in clear text", level="note")


def _check_certificate(site: Site, host: Host, findings: Findings, table: tuple[str | int, ...]) -> None:
    if host.certificate is None or host.key is None:
        if site.tls_port:
            reason = "has no certificate, so it is not served by TLS"
            findings.note(table, f"host[{host.name}]", reason, "write certificate and key", "warning")
        return
    from framework.site.certificates import examine

    for remark in examine(host.certificate, host.key, host.names):
        key = f"host[{host.name}].{remark.key}"
        findings.note((*table, remark.key), key, remark.reason, remark.hint, remark.level)


def _check_page(host: Host, findings: Findings, table: tuple[str | int, ...]) -> None:
    if host.unavailable is None:
        return
    place, key = (*table, "unavailable"), f"host[{host.name}].unavailable"
    try:
        status = host.unavailable.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_PAGE_BYTES:
            findings.note(place, key, f"{host.unavailable} is not a file of at most {MAX_PAGE_BYTES // 1024} KiB")
        elif not status.st_mode & stat.S_IROTH:
            reason = f"{host.unavailable} is shown to everybody, and not for everybody to read"
            findings.note(place, key, reason, f"chmod o+r {host.unavailable}")
    except OSError as error:
        findings.note(place, key, f"{host.unavailable}: {error.strerror}", "an HTML file, relative to the site file")


def _check_foreign(site: Site, foreign: Foreign, account: Account, findings: Findings) -> None:
    """What somebody else starts need not run now, so only what it never could is an error."""
    place, key = ("backend", foreign.name, "fastcgi"), f"backend.{foreign.name}.fastcgi"
    if isinstance(foreign.address, Listen):
        if not ports.answers_tcp(foreign.address.address, foreign.address.port):
            findings.note(place, key, f"nobody answers at {foreign.address}", "start it", "warning")
    else:
        _check_foreign_socket(foreign.address, account, findings, place, key)
    if foreign.root is not None:
        place, key = ("backend", foreign.name, "root"), f"backend.{foreign.name}.root"
        _check_readable(account, foreign.root, "the folder of scripts", findings, place, key)


def _check_foreign_socket(
    path: Path, account: Account, findings: Findings, place: tuple[str | int, ...], key: str
) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
        closed = access.first_closed(account, path)
        may_connect = access.may(account, path, access.WRITE)
    except OSError as error:
        findings.note(place, key, f"{path}: {error.strerror}", "start what listens there", "warning")
        return
    if not is_socket:
        findings.note(place, key, f"{path} is not a socket", "name the socket that it listens on")
    elif closed is not None:
        findings.note(place, key, f"{closed} is closed to {account.name}, and {path} lies in it", f"chmod o+x {closed}")
    elif not may_connect:
        hint = "PHP-FPM: listen.owner, listen.group and listen.mode of its pool"
        findings.note(place, key, f"{account.name} may not connect to {path}", hint)


# -- accounts and folders


def _check_account(
    user: str,
    group: str,
    findings: Findings,
    table: tuple[str | int, ...],
    prefix: str,
    groups: tuple[str, ...] = (),
) -> Account:
    """The account; one that is still to be made has the rights of everybody. What is missing is noted."""

    def note(key: str, reason: str, hint: str, level: Level) -> None:
        name = f"{prefix}{key}"
        findings.note((*table, name.rpartition(".")[2]), name, reason, hint, level)

    has_user, has_group = access.user_exists(user), access.group_exists(group)
    if not has_user and not has_group and user == group:
        note("user", f"there is no user and group {user} yet", _SETUP, "note")
    elif not has_user:
        note("user", f"there is no user {user} yet", _SETUP, "note")
    elif not has_group:
        note("group", f"there is no group {group} yet", _SETUP, "note")
    account = access.find_account(user, group, *groups)
    if account.uid == 0:
        note("user", f"{user} is root under another name", "name an account of its own", "error")
    if 0 in account.groups:
        note("group", f"{group} is root's group under another name", "name a group of its own", "error")
    return account


def _check_directories(site: Site, findings: Findings) -> None:
    """Nobody but root can swap the folders that root works in."""
    for key in ("run_directory", "state_directory"):
        directory: Path = getattr(site, key)
        for ancestor in (directory, *directory.parents):
            if not os.path.exists(ancestor):
                continue
            name = f"site.{key}"
            if not os.path.isdir(ancestor):
                findings.note(("site", key), name, f"{ancestor} is not a folder", "move it away")
            elif access.writable_by_others(ancestor):
                reason = f"{ancestor} can be written by everybody, so {directory} could be replaced"
                findings.note(("site", key), name, reason, f"chmod o-w {ancestor}", "warning")


def _check_state(backend: Backend, account: Account, findings: Findings) -> None:
    directory = backend.state_directory
    path, key = ("backend", backend.name, "state_directory"), f"backend.{backend.name}.state_directory"
    try:
        status = directory.stat()
    except OSError:
        return  # not there yet: sitectl setup makes it
    if not stat.S_ISDIR(status.st_mode):
        findings.note(path, key, f"{directory} is not a folder", "move it away")
    elif account.uid >= 0 and status.st_uid != account.uid:
        findings.note(path, key, f"{directory} does not belong to {backend.user}", f"chown {backend.user} {directory}")
    elif status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        reason = f"{directory} has mode {mode:04o}, so others get at what {backend.name} keeps there"
        findings.note(path, key, reason, f"chmod 0700 {directory}", "warning")


def _check_readable(
    account: Account,
    path: Path,
    what: str,
    findings: Findings,
    place: tuple[str | int, ...],
    key: str,
    level: Level = "error",
) -> bool:
    """False, with the reason noted, where `account` cannot read `path`. A closed folder above it is only noted.

    level  "note" for a folder that only has to be there: what is closed is shown to the account at the start
    """
    try:
        wanted = access.READ | (access.ENTER if path.is_dir() else 0)
        if not access.may(account, path, wanted):
            shown = "sitectl run as root shows it all the same; else " if level == "note" else ""
            findings.note(place, key, f"{account.name} cannot read {what} {path}", shown + _chmod_hint(path), level)
            return False
        closed = access.first_closed(account, path)
    except OSError as error:
        findings.note(place, key, f"{what} {path}: {error.strerror}", level="warning")
        return False
    if closed is not None:
        reason = f"{closed} is closed to {account.name}, and {what} {path} lies in it"
        hint = f"sitectl run as root shows it that one read-only; else chmod o+x {closed}"
        findings.note(place, key, reason, hint, "note")
    return True


def _chmod_hint(path: Path) -> str:
    return f"chmod o+r{'x' if path.is_dir() else ''} {path}"


# -- static folders


def _check_static(host: Host, account: Account, findings: Findings, table: tuple[str | int, ...]) -> None:
    if host.static is None:
        return
    place, key = (*table, "static"), f"host[{host.name}].static"
    if not _check_readable(account, host.static, "the static folder", findings, place, key):
        return
    links, unreadable = [], []
    for path in _walk(host.static):
        try:
            if path.is_symlink():
                links.append(path)
            elif not access.may(account, path, access.READ | (access.ENTER if path.is_dir() else 0)):
                unreadable.append(path)
        except OSError:
            continue
    for path in links[:MAX_FILES_SHOWN]:
        findings.note(place, key, f"{path} is a symbolic link", "the front end does not follow it", "warning")
    if len(links) > MAX_FILES_SHOWN:
        reason = f"{host.static} has {len(links) - MAX_FILES_SHOWN} more symbolic links"
        findings.note(place, key, reason, "the front end does not follow them", "warning")
    for path in unreadable[:MAX_FILES_SHOWN]:
        findings.note(place, key, f"{account.name} cannot read {path}", _chmod_hint(path), "warning")
    if len(unreadable) > MAX_FILES_SHOWN:
        reason = f"{account.name} cannot read {len(unreadable) - MAX_FILES_SHOWN} more files of {host.static}"
        findings.note(place, key, reason, f"chmod -R o+rX {host.static}", "warning")


def _walk(folder: Path) -> Iterator[Path]:
    """Files and folders below `folder`, links not followed, a bounded number of them."""
    count = 0
    for directory, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            yield Path(directory, name)
            count += 1
            if count >= MAX_STATIC_FILES:
                return


# -- back ends


def _check_backend(site: Site, backend: Backend, findings: Findings) -> None:
    table = ("backend", backend.name)
    account = _check_account(backend.user, backend.group, findings, table, f"backend.{backend.name}.", backend.groups)
    _check_state(backend, account, findings)
    _check_membership(site, backend, findings)
    _check_groups(backend, findings)
    if backend.working_directory is not None:
        place, key = (*table, "working_directory"), f"backend.{backend.name}.working_directory"
        _check_readable(account, backend.working_directory, "the working directory", findings, place, key, "note")
    _check_application(backend, account, findings)


def _check_membership(site: Site, backend: Backend, findings: Findings) -> None:
    if backend.user in access.members_of(site.frontend_group):
        place, key = ("backend", backend.name, "user"), f"backend.{backend.name}.user"
        reason = f"{backend.user} is a member of {site.frontend_group}, the group that may talk to all back ends"
        findings.note(place, key, reason, f"gpasswd -d {backend.user} {site.frontend_group}", "warning")


def _check_groups(backend: Backend, findings: Findings) -> None:
    place, key = ("backend", backend.name, "groups"), f"backend.{backend.name}.groups"
    for group in backend.groups:
        if not access.group_exists(group):
            hint = f"groupadd --system {group}, and give it what this back end needs"
            findings.note(place, key, f"there is no group {group}", hint)


def _check_application(backend: Backend, account: Account, findings: Findings) -> None:
    place, key = ("backend", backend.name, "application"), f"backend.{backend.name}.application"
    module, _, name = backend.application.partition(":")
    try:
        spec = modules.find_module(module, [str(folder) for folder in backend.path])
    except OSError as error:
        findings.note(place, key, f"the module {module} cannot be looked for: {error.strerror}", level="warning")
        return
    if spec is None:
        searched = ", ".join(map(str, backend.path)) or "the interpreter's own folders"
        known = modules.neighbours(module, backend.path)
        hint = nearest(module.rpartition(".")[2], known) or "is its folder in the key path?"
        findings.note(place, key, f"there is no module {module} in {searched}", hint)
        return
    if spec.origin is None or not os.path.isabs(spec.origin):
        return
    file = Path(spec.origin)
    if _check_readable(account, file, "the module", findings, place, key):
        _check_not_writable(backend, account, file, findings)
    if file.suffix == ".py":
        _check_object(file, name, findings, place, key)


def _check_not_writable(backend: Backend, account: Account, file: Path, findings: Findings) -> None:
    """Code that a back end can change outlives an attack on it."""
    place, key = ("backend", backend.name, "path"), f"backend.{backend.name}.path"
    for path in (file, file.parent):
        if access.may(account, path, access.WRITE):
            reason = f"{backend.user} can write {path}: who breaks into {backend.name} can change its code"
            findings.note(place, key, reason, f"chown root {path}", "warning")


def _check_object(file: Path, name: str, findings: Findings, place: tuple[str | int, ...], key: str) -> None:
    """The object after the colon, as far as the source tells."""
    try:
        with file.open("rb") as stream:
            source = stream.read(MAX_SOURCE_BYTES + 1)
    except OSError:
        return
    if len(source) > MAX_SOURCE_BYTES:
        return
    try:
        tree = ast.parse(source, str(file))
    except SyntaxError as error:
        findings.note(place, key, f"{file}:{error.lineno or 1}: {error.msg}")
        return
    except (ValueError, RecursionError, MemoryError) as error:
        findings.note(place, key, f"{file} cannot be parsed: {error}")
        return
    names = modules.global_names(tree)
    if name not in names and not {"*", "__getattr__"} & names:
        findings.note(place, key, f"{file} has no {name!r}", nearest(name, names), "warning")
