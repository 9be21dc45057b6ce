"""A site as systemd units, without the supervisor: a socket and a service for each back end, and the front end's.

The service of a back end has as directives what the site file declares, and on its standard input the spec that the
supervisor would give, with what the back end closes by itself: Landlock and its filter of system calls are the same
in both ways, and the same proof is read back from the kernel before anything of the application is imported. Nothing
is started or installed here. Sources: systemd.exec(5), systemd.socket(5), systemd.service(5), systemd.syntax(7).
"""

from __future__ import annotations

import json
import resource
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.process import seccomp
from framework.process.describe import url_tables
from framework.process.linux import CAPABILITIES
from framework.process.parts import Part, PartsError, parts_of
from framework.process.sandbox import TEMPORARY
from framework.process.spec import spec_of
from framework.site.values import RESOURCES

if TYPE_CHECKING:
    from framework.site.schema import Backend, Site

__all__ = ["confinement_of", "quoted", "units_of"]

CODE = 'the site file; change that, and run "sitectl systemd" again'
LIMITS = {getattr(resource, kind): kind.replace("RLIMIT_", "Limit") for kind, _ in RESOURCES.values()}
STOP_SECONDS = 15
WATCHDOG_SECONDS = 60
PATIENT_WATCHDOG_SECONDS = 600
"""For a back end that serves by itself and whose calls have no limit: one that takes longer is taken for stuck."""


Lines = list[tuple[str, str]]


def units_of(site: Site, folder: str = "/etc/systemd/system") -> dict[str, str]:
    """Name of the file → its text: units, and the front end's configuration, which lies in `folder` too.

    For root, after `sitectl setup`. Raises PartsError with everything that keeps the site from running so.
    """
    _check_variables(site)
    frontend, *backends = parts_of(site)
    hint = "and units show nothing of closed folders: keep code where all may go, such as /opt"
    problems = [
        f"{part.name}: {', '.join(part.view.covers)} is closed to its user {part.privileges.user}, {hint}"
        for part in (frontend, *backends)
        if part.view is not None
    ]
    if problems:
        raise PartsError(problems)
    configuration = f"{site.name}-{site.frontend}.conf"
    files = {}
    tables = {part.name: f"{site.name}-{part.name}.urls.json" for part in backends}
    places = {name: f"{folder}/{file}" for name, file in tables.items()}
    for part in backends:
        backend = site.backends[part.name]
        name = f"{site.name}-{part.name}"
        files[f"{name}.socket"] = _text(f"socket of {part.where}", _socket(site, part, frontend, name))
        files[f"{name}.service"] = _text(f"{part.where}", _service(site, part, backend, frontend, name, places))
    name = f"{site.name}-{site.frontend}"
    files[f"{name}.service"] = _text("the front end", _front(site, frontend, f"{folder}/{configuration}"))
    files[f"{site.name}.target"] = _text("the whole site", _target(site, files))
    from framework.frontends.servers import SERVERS

    begin = f"{site.name}-"
    certificates = {host: (Path(pair[0][1]), Path(pair[1][1])) for host, pair in _credentials(site, name).items()}
    pages = f"{folder}/{begin}"
    files[configuration] = SERVERS[site.frontend].generate(site, certificates=certificates, pages=pages)
    files |= {f"{begin}{page}": content.decode(errors="replace") for page, content in _pages(site)}
    return files | {tables[name]: table for name, table in _tables(site).items()}


def _check_variables(site: Site) -> None:
    problems = [
        f"{name}: the variable {key} has control characters, which a unit cannot carry"
        for name, backend in site.backends.items()
        for key, value in backend.environment.items()
        if any(sign not in "\t\n" and unicodedata.category(sign) == "Cc" for sign in value)
    ]
    if problems:
        raise PartsError(problems)


def _pages(site: Site) -> list[tuple[str, bytes]]:
    from framework.frontends.pages import PageError, pages_of

    try:
        return list(pages_of(site))
    except PageError as error:
        raise PartsError([str(error)]) from None


def _credentials(site: Site, unit: str) -> dict[str, tuple[tuple[Path, str], tuple[Path, str]]]:
    """Host → certificate and key, each where it is and where systemd puts it for the front end."""
    found = {}
    for index, host in enumerate(site.hosts):
        if host.certificate is not None and host.key is not None:
            folder = f"/run/credentials/{unit}.service/tls-{index}"
            found[host.name] = ((host.certificate, f"{folder}.crt"), (host.key, f"{folder}.key"))
    return found


def _tables(site: Site) -> dict[str, str]:
    """The URL tables by which back ends know each other's addresses, as the supervisor would pass them on."""
    found = url_tables(site)
    problems = [f"back end {name}: {table}" for name, table in found.items() if isinstance(table, str)]
    if problems:
        raise PartsError(problems)
    return {name: json.dumps(table) + "\n" for name, table in found.items()}


def _text(what: str, sections: Mapping[str, Lines]) -> str:
    blocks = [f"# {what}. Made by sitectl systemd from {CODE}."]
    for header, lines in sections.items():
        blocks.append("\n".join((f"[{header}]", *(f"{key}={value}" for key, value in lines))))
    return "\n\n".join(blocks) + "\n"


def _target(site: Site, files: Iterable[str]) -> dict[str, Lines]:
    names = [name for name in files if name.endswith((".socket", ".service"))]
    wanted = [name for name in names if name.endswith(".socket") or name == f"{site.name}-{site.frontend}.service"]
    return {
        "Unit": [("Description", f"site {site.name}"), ("Wants", " ".join(wanted))],
        "Install": [("WantedBy", "multi-user.target")],
    }


def _socket(site: Site, part: Part, frontend: Part, name: str) -> dict[str, Lines]:
    return {
        "Unit": [
            ("Description", f"site {site.name}, socket of back end {part.name}"),
            ("PartOf", f"{site.name}.target"),
        ],
        "Socket": [
            ("ListenStream", _plain(str(site.socket_path(part.name)))),
            ("SocketUser", "root"),
            ("SocketGroup", frontend.privileges.group),
            ("SocketMode", "0660"),
            ("DirectoryMode", "0755"),
            ("FileDescriptorName", part.name),
            ("RemoveOnStop", "yes"),
        ],
        "Install": [("WantedBy", f"{site.name}.target")],
    }


def _service(
    site: Site, part: Part, backend: Backend, frontend: Part, name: str, tables: Mapping[str, str]
) -> dict[str, Lines]:
    spec = spec_of(
        site,
        part.name,
        allow_uids=(frontend.privileges.uid, 0),
        privileges=part.privileges.to_spec(),
        confinement=confinement_of(site, part, backend, tables.values()),
    )
    spec["tree"] = {**spec["tree"], "tables": dict(tables)}
    keeper = (part.argv[0], "-P", "-s", "-S", "-m", "framework.process.keeper")
    lines: Lines = [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("ExecStart", " ".join(map(quoted, (*keeper, part.name)))),
        ("ExecReload", f"{' '.join(map(quoted, keeper))} --reload $MAINPID"),
        ("StandardInput", "data"),
        *(("StandardInputText", _escaped(line)) for line in json.dumps(spec, indent=1).splitlines()),
        ("StandardOutput", "journal"),
        ("StandardError", "journal"),
        ("SyslogIdentifier", name),
        ("SyslogLevelPrefix", "yes"),
        *_rate(backend.log_rate),
        *_ends(backend),
        *_identity(part, backend.groups),
        *(
            ("Environment", quoted(f"{key}={value}", dollars=False))
            for key, value in sorted(part.launch({}, (), {}).environment.items())
        ),
        *(("LoadCredential", f"{key}:{_plain(str(file))}") for key, file in backend.credentials.items()),
        *_limits(part),
        ("PrivateNetwork", _yes(backend.private_network)),
    ]
    if backend.sandbox:
        lines += _sandbox(part, backend)
    return {
        "Unit": [
            ("Description", f"site {site.name}, back end {part.name}: {backend.application}"),
            ("Requires", f"{name}.socket"),
            ("After", f"{name}.socket network.target"),
            ("PartOf", f"{site.name}.target"),
        ],
        "Service": lines,
    }


def _rate(rate: int) -> Lines:
    if not rate:
        return [("LogRateLimitIntervalSec", "0")]
    return [("LogRateLimitIntervalSec", "10"), ("LogRateLimitBurst", str(10 * rate))]


def _ends(backend: Backend) -> Lines:
    """How it ends and comes back. Where it serves by itself its loop answers the watchdog, else the workers' parent."""
    return [
        ("KillMode", "mixed"),
        ("TimeoutStartSec", "60"),
        ("TimeoutStopSec", str(STOP_SECONDS)),
        ("WatchdogSec", str(_watchdog(backend))),
        ("Restart", "always"),
        ("RestartSec", "250ms"),
        ("RestartPreventExitStatus", "77 78"),
    ]


def _watchdog(backend: Backend) -> int:
    """Seconds without a sign of life. A loop gives none while a call goes on, and it is not there to end what may."""
    if backend.workers > 1 or backend.max_requests or backend.max_memory:
        return WATCHDOG_SECONDS
    return max(5 * backend.request_timeout, WATCHDOG_SECONDS) if backend.request_timeout else PATIENT_WATCHDOG_SECONDS


def _identity(part: Part, groups: Iterable[str] = ()) -> Lines:
    rights = part.privileges
    names = " ".join(f"CAP_{name.upper()}" for name, bit in CAPABILITIES.items() if rights.capabilities >> bit & 1)
    return [
        ("User", rights.user),
        ("Group", rights.group),
        *([("SupplementaryGroups", " ".join(groups))] if groups else []),
        ("WorkingDirectory", _plain(part.working_directory)),
        ("UMask", f"{rights.umask:04o}"),
        ("Nice", str(rights.nice)),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", names),
        ("AmbientCapabilities", names),
        ("SecureBits", "noroot noroot-locked no-setuid-fixup-locked"),
    ]


def _limits(part: Part) -> Lines:
    return [(LIMITS[kind], str(value)) for kind, value in part.privileges.limits]


def _sandbox(part: Part, backend: Backend) -> Lines:
    """What the back end's own Landlock and filter do, as far as units can say it, and what costs it nothing beside."""
    calls = dict.fromkeys(backend.system_calls)
    shown = [str(path) for path in (*backend.read, *backend.write, *backend.execute)]
    needed = [*shown, *map(str, backend.path), part.directory, part.argv[0], part.variables["PYTHONPATH"]]
    writable = [part.directory, *map(str, backend.write)]

    def apart(*folders: str, of: Iterable[str] = needed) -> str:
        """yes where nothing that is needed lies in or above these folders."""
        touched = any(
            path == folder or path.startswith(f"{folder}/") or folder.startswith(f"{path.rstrip('/')}/")
            for path in of
            for folder in folders
        )
        return _yes(not touched)

    families = "AF_UNIX" + (" AF_INET AF_INET6 AF_NETLINK" if backend.network else "")
    return [
        ("ProtectSystem", "strict"),
        ("ReadWritePaths", " ".join(quoted(path, dollars=False) for path in writable)),
        ("ProtectHome", apart("/home", "/root", "/run/user")),
        ("PrivateTmp", "yes" if backend.private_tmp else apart(*TEMPORARY)),
        ("PrivateDevices", apart("/dev", of=shown)),
        ("ProtectProc", "invisible" if apart("/proc", of=shown) == "yes" else "default"),
        ("ProcSubset", "pid" if apart("/proc", of=shown) == "yes" else "all"),
        ("ProtectKernelTunables", apart("/proc", "/sys", of=writable)),
        ("ProtectControlGroups", apart("/sys", of=writable)),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelLogs", _yes("syslog" not in calls)),
        ("ProtectClock", "yes"),
        ("ProtectHostname", "yes"),
        ("LockPersonality", "yes"),
        ("RestrictNamespaces", _yes(not {"namespaces", "unshare", "setns"} & set(calls))),
        ("RestrictRealtime", _yes(not {"scheduling", "sched_setscheduler", "sched_setattr"} & set(calls))),
        ("RestrictSUIDSGID", "yes"),
        ("RemoveIPC", _yes("ipc" not in calls)),
        ("RestrictAddressFamilies", families),
        *([] if backend.network else [("IPAddressDeny", "any")]),
        ("SystemCallArchitectures", "native"),
        *(("SystemCallFilter", " ".join(row)) for row in _rows(seccomp.allowed(backend.system_calls))),
        ("SystemCallErrorNumber", "EPERM"),
    ]


def confinement_of(site: Site, part: Part, backend: Backend, tables: Iterable[str] = ()) -> dict[str, Any] | None:
    """What the back end closes by itself, JSON-able; None where the site file switches the sandbox off.

    tables  the files of the URL tables, which it may read
    """
    sandbox = part.privileges.sandbox
    if sandbox is None:
        return None
    ours = (str(site.run_directory), f"{site.run_directory}/")
    access = sandbox.access
    return {
        "read": [path for path in access.read if not path.startswith(ours)],
        "write": list(access.write),
        "execute": list(access.execute),
        "list": list(access.list),
        "usual": [*access.usual, *tables],
        "network": backend.network,
        "system_calls": list(backend.system_calls),
    }


def _front(site: Site, part: Part, configuration: str) -> dict[str, Lines]:
    from framework.frontends.servers import SERVERS

    argv = SERVERS[site.frontend].command(part.argv[0], Path(configuration))
    signals = {"lighttpd": ("USR1", "SIGINT"), "nginx": ("HUP", "SIGQUIT")}[site.frontend]
    sockets = " ".join(f"{site.name}-{name}.socket" for name in site.backends)
    local = site.frontend_directory.relative_to("/run") if site.frontend_directory.is_relative_to("/run") else None
    lines: Lines = [
        ("Type", "exec"),
        ("ExecStart", " ".join(map(quoted, argv))),
        ("ExecReload", f"/bin/kill -{signals[0]} $MAINPID"),
        ("KillSignal", signals[1]),
        ("TimeoutStopSec", str(STOP_SECONDS)),
        ("Restart", "always"),
        ("StandardOutput", "journal"),
        ("StandardError", "journal"),
        *_identity(part),
        *_limits(part),
    ]
    for pair in _credentials(site, f"{site.name}-{site.frontend}").values():
        lines += [("LoadCredential", f"{Path(there).name}:{_plain(str(here))}") for here, there in pair]
    if local is not None:
        lines += [("RuntimeDirectory", _escaped(str(local))), ("RuntimeDirectoryMode", "0700")]
    else:
        lines += [("ReadWritePaths", quoted(str(site.frontend_directory), dollars=False))]
    lines += [
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "no"),
        ("PrivateDevices", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectControlGroups", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectClock", "yes"),
        ("ProtectHostname", "yes"),
        ("LockPersonality", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"),
        ("SystemCallArchitectures", "native"),
        ("SystemCallFilter", "@system-service"),
    ]
    return {
        "Unit": [
            ("Description", f"site {site.name}, front end: {site.frontend} at {part.where}"),
            ("Wants", sockets),
            ("After", f"{sockets} network-online.target"),
            ("PartOf", f"{site.name}.target"),
        ],
        "Service": lines,
        "Install": [("WantedBy", f"{site.name}.target")],
    }


def quoted(text: str, *, dollars: bool = True) -> str:
    """One word of a command line or list (systemd.syntax(7)): quoted where it has to be, specifiers and `$` escaped."""
    text = _escaped(text)
    if dollars:
        text = text.replace("$", "$$")
    needed = not text or any(sign in " \t'\";\\" for sign in text)
    return '"' + text.replace('"', '\\"') + '"' if needed else text


def _escaped(text: str) -> str:
    """A value of a directive, which is one line. A newline becomes an escape, which counts in quotes alone."""
    return text.replace("\\", "\\\\").replace("%", "%%").replace("\n", "\\n")


def _plain(text: str) -> str:
    """A path alone in a directive: there systemd knows specifiers, and no escapes. Raises PartsError."""
    if "\n" in text or text.endswith("\\"):
        raise PartsError([f"{text!r}: a unit cannot carry a path with a line feed, or with a backslash at its end"])
    return text.replace("%", "%%")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _rows(names: Iterable[str], width: int = 12) -> list[list[str]]:
    words = list(names)
    return [words[at : at + width] for at in range(0, len(words), width)]
