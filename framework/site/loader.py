"""Reading a site file: TOML in, a checked `Site` out, or `SiteError` with every mistake at once.

The file is walked once per table, then the parts are checked against each other. Whether accounts exist, ports are free
and folders can be read by those who must is not asked here but in `framework.site.check`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from framework.site import values
from framework.site.hosts import HostsReader, existing_folder
from framework.site.lines import find_lines
from framework.site.problems import Problem, SiteError
from framework.site.schema import Backend, Foreign, Host, Listen, Site
from framework.site.tables import Findings, Table, nearest
from framework.site.values import Refused

MAX_FILE_BYTES: Final = 1 << 20
LEAST_PROCESS: Final = 6 << 20
"""Bytes that a worker needs at least, without what its application needs."""
MAX_BACKENDS: Final = 256
FRONTENDS: Final = ("lighttpd", "nginx")
DEFAULT_LISTEN: Final = Listen("127.0.0.1", 8080)
DEFAULT_MAX_REQUEST_SIZE: Final = 16 * 1024 * 1024
_TABLES: Final = ("site", "host", "backend")


def load_site(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Site:
    """See `framework.site.load`."""
    file = Path(path)
    if os.path.isdir(file):  # (Path.is_dir raises where a folder above is closed)
        file /= "site.toml"
    text = _read(file)
    findings = Findings(str(file))
    data = _parse(text, findings)
    findings.lines = find_lines(text, data)
    site = _Loader(findings, data, file.resolve(), dict(overrides or {})).site()
    if findings.has_errors:
        raise SiteError(findings.in_file_order())
    return site


def _read(file: Path) -> str:
    def refused(reason: str, hint: str = "") -> SiteError:
        return SiteError([Problem(str(file), "", reason, hint)])

    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise refused(
            "no such file",
            "name the site file, as in 'sitectl check SITE.toml'; docs/site.md begins with the smallest one",
        ) from None
    except OSError as error:
        raise refused(f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise refused(f"larger than the {MAX_FILE_BYTES // 1024} KiB of a site file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SiteError([Problem(str(file), "", "is not UTF-8", "save it as UTF-8", line)]) from None


def _parse(text: str, findings: Findings) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a ValueError beside TOMLDecodeError: a number of 5,000 digits
        message = str(error) if isinstance(error, ValueError) else "nested too deeply"
        match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
        line = int(match[1]) if match and match[1] else None
        reason = message[: match.start()] if match else message
        where = f"in column {match[2]}" if match and match[2] else ""
        problem = Problem(findings.file, "", f"not TOML: {reason[:1].lower()}{reason[1:]}", where, line)
        raise SiteError([problem]) from None


class _Loader:
    """One walk over one file; the tables of hosts and back ends are kept for what is checked at the end."""

    def __init__(self, findings: Findings, data: Mapping[str, Any], file: Path, overrides: dict[str, Any]) -> None:
        self.findings = findings
        self.root = Table(findings, data, (), "")
        self.file = file
        self.overrides = overrides
        self.folder = file.parent
        self.accounts = ("", "")
        self.backend_tables: dict[str, Table] = {}
        self.foreign: dict[str, Foreign] = {}

    def site(self) -> Site:
        """The whole site; only good where no errors were noted."""
        head = self._site_table()
        head_values = self._head(head)
        name, state = head_values["name"], head_values["state_directory"]
        backends = self._backends(name, state)
        prefixes = {name: backend.prefix for name, backend in backends.items()}
        prefixes |= {name: foreign.prefix for name, foreign in self.foreign.items()}
        has_tls = any(listen.tls for listen in (head_values["listen"], *head_values["also_listen"]))
        reader = HostsReader(self.root, self.file, prefixes, has_tls=has_tls)
        hosts = reader.read()
        self.root.close(_TABLES)
        self._check_backends(backends, hosts, head_values["run_directory"])
        self._check_control(head, head_values["control_group"], backends)
        self._check_memory(head, head_values["memory"], backends)
        self._check_run_is_apart(head, head_values["run_directory"], hosts, backends)
        self._check_foreign(hosts)
        hosts = reader.with_default(hosts)
        return Site(
            **head_values,
            file=self.file,
            hosts=hosts,
            backends=backends,
            foreign=self.foreign,
            remarks=tuple(self.findings.in_file_order()),
        )

    def _check_memory(self, head: Table, memory: int, backends: Mapping[str, Backend]) -> None:
        least = {"static": lambda each: each.workers, "dynamic": lambda each: each.min_workers}
        kept = sum(least[each.processes](each) for each in backends.values() if each.processes in least)
        if 0 < memory < (kept + 1) * LEAST_PROCESS:
            needed = f"{(kept + 1) * LEAST_PROCESS >> 20} MiB or more"
            reason = f"is less than the {kept} workers that are always there and the supervisor need"
            head.refuse("memory", reason, f'{needed}; or processes = "ondemand" for some back ends', "warning")

    # -- [site]

    def _site_table(self) -> Table:
        data = self.root.data.get("site")
        if data is None:
            self.root.refuse("site", "the table [site] is missing", 'write [site] and name = "appliance"')
            data = {"name": "site"}
        elif not isinstance(data, dict):
            self.root.refuse("site", "is not a table", "write [site] on a line of its own")
            data = {"name": "site"}
        return Table(self.findings, data, ("site",), "site")

    def _head(self, table: Table) -> dict[str, Any]:
        development = self.overrides.pop("development", False)
        changed = {key: str(value) if isinstance(value, Path) else value for key, value in self.overrides.items()}
        table.data = {**table.data, **changed}
        self.findings.overridden = frozenset(("site", key) for key in changed)
        name = table.required("name", "site", values.check_name, "appliance")
        frontend = table.text("frontend", "lighttpd", _check_frontend)
        user = table.text("frontend_user", "www-data", values.check_account)
        group = table.text("frontend_group", user, values.check_account)
        self.accounts = (user, group)
        for key, account in (("frontend_user", user), ("frontend_group", group)):
            if account == "root":
                table.refuse(key, "the front end does not run as root", 'write "www-data"')
        run = table.text("run_directory", Path("/run") / name, values.check_directory_name)
        state = table.text("state_directory", Path("/var/lib") / name, values.check_directory_name)
        if _overlap(run, state):
            table.refuse("run_directory", f"{run} and the state directory {state} lie within each other")
        listen, *also_listen = self._addresses(table)
        size = table.value("max_request_size", (int, str), DEFAULT_MAX_REQUEST_SIZE, values.check_size)
        log = table.text("log", "output", values.check_log)
        control_group = table.text("control_group", "", values.check_account)
        if control_group and control_group in (group, "root"):
            table.refuse(
                "control_group", "is the front end's, or root", "name a group of those who look after the site"
            )
        memory = table.value("memory", (int, str), 0, values.check_memory)
        table.close()
        return {
            "name": name,
            "listen": listen,
            "also_listen": tuple(also_listen),
            "frontend": frontend,
            "frontend_user": user,
            "frontend_group": group,
            "run_directory": run,
            "state_directory": state,
            "max_request_size": size,
            "log": log,
            "memory": memory,
            "control_group": control_group,
            "development": bool(development),
        }

    def _addresses(self, table: Table) -> list[Listen]:
        """Where it listens, in clear and by TLS; never empty."""
        found: list[Listen] = []
        for key in ("listen", "listen_tls"):
            given = table.data.get(key)
            texts = table.texts if isinstance(given, list) else _one_text(table)
            for listen in texts(key, values.check_listen):
                listen = Listen(listen.address, listen.port, tls=key == "listen_tls")
                other = next((each for each in found if _collide(each, listen)), None)
                if other is not None:
                    hint = "each address once; one for all addresses covers the others"
                    table.refuse(key, f"{listen} and {other} are in each other's way", hint)
                found.append(listen)
            if key == "listen" and "listen" not in table:
                found.append(DEFAULT_LISTEN)
        if len(found) > values.MAX_LISTENS:
            table.refuse("listen", f"more than {values.MAX_LISTENS} addresses")
        if not found and table.data.get("listen") == [] and not table.data.get("listen_tls"):
            table.refuse("listen", "the site listens nowhere", 'write listen = "127.0.0.1:8080"')
        return found or [DEFAULT_LISTEN]

    # -- [backend.NAME]

    def _backends(self, site_name: str, state: Path) -> dict[str, Backend]:
        tables = self.root.data.get("backend", {})
        if not isinstance(tables, dict):
            self.root.refuse("backend", "is not a table", "write [backend.status] on a line of its own")
            return {}
        if len(tables) > MAX_BACKENDS:
            self.root.refuse("backend", f"more than {MAX_BACKENDS} back ends")
            return {}
        backends = {}
        for name, data in tables.items():
            table = Table(self.findings, data if isinstance(data, dict) else {}, ("backend", name), f"backend.{name}")
            try:
                values.check_name(name)
            except Refused as refused:
                table.refuse("", refused.reason, refused.hint)
            if not isinstance(data, dict):
                table.refuse("", "is not a table", f"write [backend.{name}] on a line of its own")
                continue
            self.backend_tables[name] = table
            if "fastcgi" in data:
                self.foreign[name] = self._foreign(name, table)
                continue
            backends[name] = self._backend(name, table, site_name, state)
        return backends

    def _backend(self, name: str, table: Table, site_name: str, state: Path) -> Backend:
        application = table.required("application", "", values.check_application, f"{name}:app")
        user = table.text("user", f"{site_name}-{name}", values.check_account)
        group = table.text("group", user, values.check_account)
        self._check_accounts(table, user, group)
        groups = tuple(table.texts("groups", self._supplementary))
        environment = table.pairs("environment")
        for variable, value in environment.items():
            try:
                values.check_variable(variable, value)
            except Refused as refused:
                table.refuse("environment", refused.reason, refused.hint)
        workers = table.number("workers", 1, 1, values.MAX_WORKERS)
        backend = Backend(
            name=name,
            application=application,
            prefix=table.text("prefix", f"/{name}", values.check_prefix),
            user=user,
            group=group,
            groups=groups,
            working_directory=table.text("working_directory", None, self._folder),
            workers=workers,
            path=self._path(table),
            environment=environment,
            state_directory=table.text("state_directory", state / name, values.check_directory_name),
            health=table.text("health", "", values.check_health),
            **self._processes(table, workers),
            robots=table.flag("robots", True),
            **self._limits(table),
            **self._sandbox(table),
        )
        table.close()
        return backend

    def _processes(self, table: Table, workers: int) -> dict[str, Any]:
        """How many processes there are when."""
        keys: dict[str, Any] = {
            "processes": table.text("processes", "static", values.check_processes),
            "min_workers": table.number("min_workers", 1, 1, values.MAX_WORKERS),
            "idle_exit": table.value("idle_exit", (int, str), 60, values.check_idle_exit),
        }
        if "idle_exit" in table and keys["processes"] == "static":
            reason = "has no effect: the processes of this back end are there all the time"
            table.refuse("idle_exit", reason, 'write processes = "ondemand" or "dynamic" too', "warning")
        if keys["processes"] != "dynamic":
            if "min_workers" in table:
                table.refuse("min_workers", "has no effect", 'it is for processes = "dynamic"', "warning")
        elif workers == 1:
            table.refuse(
                "processes", '"dynamic" needs workers = 2 or more, the most there may be', "such as workers = 4"
            )
        elif keys["min_workers"] >= workers:
            reason = f"{keys['min_workers']} is not less than workers = {workers}, the most there may be"
            table.refuse("min_workers", reason, 'choose fewer, or processes = "static"')
        return keys

    def _foreign(self, name: str, table: Table) -> Foreign:
        """A back end that somebody else starts."""
        nowhere: Path | Listen = Listen("127.0.0.1", 9000)
        foreign = Foreign(
            name=name,
            address=table.required("fastcgi", nowhere, values.check_fastcgi, "unix:/run/php/php-fpm.sock"),
            prefix=table.text("prefix", f"/{name}", values.check_prefix),
            root=table.text("root", None, self._folder),
            suffix=table.text("suffix", ".php", values.check_suffix),
            index=table.text("index", "index.php", values.check_index),
            robots=table.flag("robots", True),
        )
        if "application" in table:
            table.asked("application")
            table.refuse("application", "is started by this site, and fastcgi by somebody else", "keep one of them")
        if foreign.root is None:
            for key in ("suffix", "index"):
                if key in table:
                    table.refuse(key, "has no effect without root, the folder of the scripts", level="warning")
        elif not foreign.index.endswith(foreign.suffix):
            table.refuse("index", f"{foreign.index} does not end in {foreign.suffix}, so it would not be run")
        table.close()
        return foreign

    def _limits(self, table: Table) -> dict[str, Any]:
        """When a call or a worker has had enough."""
        either = (int, str)
        keys: dict[str, Any] = {
            "request_timeout": table.value("request_timeout", either, 0, values.check_timeout),
            "slow_request": table.value("slow_request", either, 0, values.check_duration),
            "max_memory": table.value("max_memory", either, 0, values.check_memory),
            "max_requests": table.number("max_requests", 0, 0, values.MAX_REQUESTS),
            "log_rate": table.number("log_rate", 200, 0, values.MAX_LOG_RATE),
        }
        if 0 < keys["request_timeout"] * 1000 <= keys["slow_request"]:
            reason = "has no effect: request_timeout ends a call before it is called slow"
            table.refuse("slow_request", reason, "choose a shorter one", "warning")
        return keys

    def _sandbox(self, table: Table) -> dict[str, Any]:
        """What the kernel is to keep a back end from, and what it may all the same."""
        keys: dict[str, Any] = {
            "sandbox": table.flag("sandbox", True),
            "network": table.flag("network"),
            "private_tmp": table.flag("private_tmp"),
            "private_network": table.flag("private_network"),
            "system_calls": tuple(table.texts("system_calls", values.check_word)),
            "capabilities": tuple(table.texts("capabilities", values.check_word)),
            "nice": table.number("nice", 0, 0, 19),
            "umask": table.text("umask", 0o077, values.check_umask),
            "limits": self._resources(table),
            "credentials": self._credentials(table),
        }
        for key in ("read", "write", "execute"):
            keys[key] = tuple(table.texts(key, self._any_path))
        if keys["network"] and keys["private_network"]:
            table.refuse("private_network", "leaves nothing of the network that network = true allows", "keep one")
        if not keys["sandbox"]:
            reason = "is off: this back end may do whatever its user may"
            table.refuse("sandbox", reason, "declare what it needs with read, write, execute, network", "warning")
        return keys

    def _resources(self, table: Table) -> dict[str, int]:
        good = {}
        for name, value in table.table("limits").items():
            try:
                good[name] = values.check_resource(name, value)
            except Refused as refused:
                table.refuse("limits", refused.reason, refused.hint)
        return good

    def _credentials(self, table: Table) -> dict[str, Path]:
        good = {}
        for name, text in table.pairs("credentials").items():
            try:
                good[values.check_credential(name)] = self._any_path(text)
            except Refused as refused:
                table.refuse("credentials", refused.reason, refused.hint)
        return good

    def _any_path(self, text: str) -> Path:
        """A file or folder of the system, or one beside the site file; links are followed when it is used."""
        return self.folder / values.check_path_text(text)

    def _check_accounts(self, table: Table, user: str, group: str) -> None:
        frontend_user, frontend_group = self.accounts
        if "user" not in table and len(user) > values.MAX_NAME:
            table.refuse("user", f"the account {user!r} made of both names is too long", 'write user = "..."')
        for key, account in (("user", user), ("group", group)):
            if account == "root" and key in table:
                table.refuse(key, "a back end never runs as root", "name an account of its own; sitectl setup makes it")
        if user == frontend_user or group == frontend_group:
            key = "user" if user == frontend_user else "group"
            reason = "is the front end's: this back end could then talk to all others directly"
            table.refuse(key, reason, "name an account of its own; sitectl setup makes it")

    def _supplementary(self, text: str) -> str:
        name = values.check_account(text)
        if name == "root":
            raise Refused("is root's group: it opens what is closed to all others", "name the group of the device")
        if name == self.accounts[1]:
            raise Refused(f"{name} is the front end's: this back end could then talk to all others directly")
        return name

    def _path(self, table: Table) -> tuple[Path, ...]:
        if "path" not in table:
            table.asked("path")
            return (self.folder,)
        return tuple(table.texts("path", self._folder))

    def _folder(self, text: str) -> Path:
        return existing_folder(self.folder, text)

    # -- the parts against each other

    def _check_backends(self, backends: Mapping[str, Backend], hosts: tuple[Host, ...], run: Path) -> None:
        mounted = {mount.backend for host in hosts for mount in host.mounts}
        users: dict[str, str] = {}
        states: dict[Path, str] = {}
        for name, backend in backends.items():
            table = self.backend_tables[name]
            if name not in mounted and not self.findings.has_errors:
                reason = "no host mounts this back end: it runs, but nobody reaches it"
                table.refuse("", reason, f'write backends = ["{name}"] in a [[host]]', "warning")
            if backend.user in users:
                reason = f"{backend.user} is also the account of {users[backend.user]}: neither is closed to the other"
                table.refuse("user", reason, "name an account of its own", "warning")
            for other in backends.values():
                if other is not backend and other.group in backend.groups:
                    reason = (
                        f"{other.group} is the group of {other.name}: what it shares with its group is open to this"
                    )
                    table.refuse("groups", reason, "a group of its own for what two back ends share", "warning")
            for taken, owner in states.items():
                if _overlap(backend.state_directory, taken):
                    reason = f"{backend.state_directory} and {taken}, the folder of {owner}, lie within each other"
                    table.refuse("state_directory", reason, "each back end has one of its own")
            users.setdefault(backend.user, name)
            states.setdefault(backend.state_directory, name)
            socket = run / "sockets" / f"{name}.sock"
            if len(bytes(socket)) > values.MAX_SOCKET_PATH:
                reason = f"the socket {socket} is longer than the {values.MAX_SOCKET_PATH} bytes of a socket's path"
                table.refuse("", reason, "choose a shorter run_directory")
            self._check_static_is_apart(table, backend, hosts)

    def _check_control(self, table: Table, group: str, backends: Mapping[str, Backend]) -> None:
        for name, backend in backends.items():
            if group and group in (backend.group, *backend.groups):
                table.refuse("control_group", f"is the group of back end {name}, which could ask what others do")

    def _check_foreign(self, hosts: tuple[Host, ...]) -> None:
        """Scripts are run, never shown; and what nobody mounts is of no use."""
        mounted = {mount.backend for host in hosts for mount in host.mounts}
        for name, foreign in self.foreign.items():
            table = self.backend_tables[name]
            if name not in mounted and not self.findings.has_errors:
                hint = f'write backends = ["{name}"] in a [[host]]'
                table.refuse("", "no host mounts this back end: nobody reaches it", hint, "warning")
            for host in hosts:
                if foreign.root is not None and host.static is not None and _overlap(foreign.root, host.static):
                    reason = f"{foreign.root} and the static folder of {host.name} lie within each other"
                    table.refuse("root", reason, "files to be shown go into a folder without scripts")

    def _check_run_is_apart(
        self, table: Table, run: Path, hosts: tuple[Host, ...], backends: Mapping[str, Backend]
    ) -> None:
        """The run directory is emptied at the end of each run: it holds nothing of anybody's and lies in nothing."""
        folders = [("the static folder of " + host.name, host.static) for host in hosts if host.static is not None]
        folders += [(f"the state directory of {name}", backend.state_directory) for name, backend in backends.items()]
        for what, folder in folders:
            if _overlap(run, folder):
                table.refuse("run_directory", f"{run} and {what}, {folder}, lie within each other")

    def _check_static_is_apart(self, table: Table, backend: Backend, hosts: tuple[Host, ...]) -> None:
        """Code and state are never published with the static files."""
        for host in hosts:
            if host.static is None:
                continue
            for folder in (*backend.path, backend.state_directory):
                if folder == host.static or host.static in folder.parents:
                    reason = f"{folder} lies within the static folder of {host.name} and would be served to everybody"
                    table.refuse("path" if folder in backend.path else "state_directory", reason)


def _check_frontend(text: str) -> str:
    if text not in FRONTENDS:
        raise Refused(f"{text!r} is not a front end this version drives", nearest(text, FRONTENDS))
    return text


def _one_text(table: Table) -> Callable[[str, Callable[[str], Listen]], list[Listen]]:
    """A key with one text instead of a list of them."""

    def read(key: str, check: Callable[[str], Listen]) -> list[Listen]:
        found = table.text(key, None, check)
        return [] if found is None else [found]

    return read


def _collide(one: Listen, other: Listen) -> bool:
    """Whether only one of them can be had: the same port, and the same address or every one of its family."""
    if one.port != other.port or (":" in one.address) != (":" in other.address):
        return False
    return one.address == other.address or bool({one.address, other.address} & {"0.0.0.0", "::"})


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
