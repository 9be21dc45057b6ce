"""The hosts of a site file: each [[host]] table as a `Host`, then the hosts against each other.

What is wrong is noted, never raised, so that one walk finds every mistake. Called by `framework.site.loader` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fastcore.values import replace
from framework.errors import style_hash
from framework.site import values
from framework.site.schema import Host, Mount
from framework.site.tables import Findings, Table, nearest
from framework.site.values import Refused

MAX_HOSTS: Final = 256
DEFAULT_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": f"default-src 'self'; style-src 'self' {style_hash()}; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""The response headers of every host; a host's `headers` change or (with an empty text) remove them. The one inline
style that is allowed is that of the error pages."""


class HostsReader:
    """One walk over the hosts of one file.

    root       the table of the whole file
    file       the site file, resolved
    prefixes   where each back end, foreign ones too, is mounted unless a host says otherwise
    has_tls    whether the site listens for TLS anywhere
    """

    def __init__(self, root: Table, file: Path, prefixes: Mapping[str, str], *, has_tls: bool) -> None:
        self.root = root
        self.findings: Findings = root.findings
        self.file = file
        self.prefixes = prefixes
        self.has_tls = has_tls
        self.tables: list[Table] = []

    def read(self) -> tuple[Host, ...]:
        """All hosts; only good where no errors were noted."""
        tables = self.root.data.get("host", [])
        if not isinstance(tables, list) or not all(isinstance(data, dict) for data in tables):
            self.root.refuse("host", "is not a list of tables", "write [[host]] (two brackets) on a line of its own")
            return ()
        if not tables:
            self.root.refuse("host", "the site has no host", 'write [[host]] and name = "localhost"')
        if len(tables) > MAX_HOSTS:
            self.root.refuse("host", f"more than {MAX_HOSTS} hosts")
            return ()
        hosts = tuple(self._host(index, data) for index, data in enumerate(tables))
        self._check_names(hosts)
        if hosts and self.has_tls and not any(host.certificate for host in hosts):
            reason = "listen_tls takes a certificate, and no host has one"
            hint = "write certificate and key in a [[host]]; sitectl certificate makes one for development"
            self.findings.note(("site", "listen_tls"), "site.listen_tls", reason, hint)
        return hosts

    def with_default(self, hosts: tuple[Host, ...]) -> tuple[Host, ...]:
        """The hosts, the first the default where none says that it is; called last, when all is well."""
        if not hosts or any(host.default for host in hosts) or self.findings.has_errors:
            return hosts
        first = hosts[0]
        if len(hosts) > 1:
            reason = f"no host is the default, so {first.name}, the first, answers for unknown names"
            self.tables[0].refuse("", reason, "write default = true in one [[host]]", "note")
        return (replace(first, default=True), *hosts[1:])

    # -- one host

    def _host(self, index: int, data: Mapping[str, Any]) -> Host:
        given = data.get("name")
        label = f"host[{given}]" if isinstance(given, str) and given.isprintable() else f"host[#{index + 1}]"
        table = Table(self.findings, data, ("host", index), label)
        name = table.required("name", f"host-{index}.invalid", values.check_host, "console.localhost")
        self.tables.append(table)
        host = Host(
            name=name,
            aliases=tuple(dict.fromkeys(table.texts("aliases", values.check_alias))),
            default=table.flag("default"),
            static=table.text("static", None, self._static),
            static_prefix=table.text("static_prefix", "/static", values.check_prefix),
            static_max_age=table.number("static_max_age", 300, 0, values.MAX_AGE),
            mounts=self._mounts(table, name),
            home="",
            headers=self._headers(table),
            compression=table.flag("compression", True),
            unavailable=table.text("unavailable", None, self._file),
            robots=table.flag("robots", True),
            redirect_aliases=table.flag("redirect_aliases"),
            **self._tls(table),
        )
        home = table.text("home", home_of(host), lambda text: text and values.check_home(text))
        table.close()
        if not host.mounts and host.static is None and "backends" not in table and "static" not in table:
            table.refuse("", "the host serves nothing", 'write backends = ["status"] or static = "static"')
        if host.redirect_aliases and not host.aliases:
            table.refuse("redirect_aliases", "has no effect: this host has no aliases", level="warning")
        self._check_prefixes(table, host)
        return replace(host, home=self._checked_home(table, host, home))

    def _tls(self, table: Table) -> dict[str, Any]:
        certificate = table.text("certificate", None, self._certificate)
        key = table.text("key", None, self._certificate)
        for here, there in (("certificate", "key"), ("key", "certificate")):
            if here in table and there not in table:
                hint = f'write {there} = "…": the PEM file with it'
                table.refuse(here, f"takes the key {there} too", hint)
        redirect = table.flag("https_redirect", certificate is not None)
        hsts = table.number("hsts_max_age", 0, 0, values.MAX_HSTS_AGE)
        if "certificate" in table and not self.has_tls:
            table.refuse("certificate", "the site listens nowhere for TLS", 'write listen_tls = "*:443" in [site]')
        if "certificate" not in table:
            for key_name, asked in (("https_redirect", redirect), ("hsts_max_age", hsts)):
                if asked:
                    table.refuse(key_name, "takes a certificate, and this host has none", "write certificate and key")
        return {"certificate": certificate, "key": key, "https_redirect": redirect, "hsts_max_age": hsts}

    def _checked_home(self, table: Table, host: Host, home: str) -> str:
        """Where "/" leads, once it is known to be of use."""
        if home and any(not mount.prefix for mount in host.mounts):
            table.refuse("home", "has no effect: a back end is mounted at the root of this host", level="warning")
            return ""
        served = [mount.prefix for mount in host.mounts]
        served += [host.static_prefix] if host.static is not None else []
        if home and not any(f"{home}/".startswith(f"{prefix}/") for prefix in served):
            known = ", ".join(f"{prefix}/" for prefix in served) or "nothing at all"
            table.refuse("home", f"{home} leads nowhere", f"this host serves {known}", "warning")
        return home

    def _static(self, text: str) -> Path:
        folder = existing_folder(self.file.parent, text)
        if folder in self.file.parents:
            raise Refused(f"{folder} holds the site file, which would be served too", 'write static = "static"')
        return folder

    def _file(self, text: str) -> Path:
        """A file of the system, or one beside the site file; whether it is there is asked later."""
        file = self.file.parent / values.check_path_text(text)
        if not str(file).isprintable():
            raise Refused(f"the file {str(file)!r} has control characters in its path")
        return file

    def _certificate(self, text: str) -> Path:
        file = self._file(text)
        if "$" in str(file):  # nginx would read a variable, whatever the quotes
            raise Refused(f"{str(file)!r} has a $ in its path", "keep certificates and keys under another path")
        return file

    def _headers(self, table: Table) -> dict[str, str]:
        headers = dict(DEFAULT_HEADERS)
        for name, value in table.pairs("headers").items():
            try:
                values.check_header(name, value)
            except Refused as refused:
                table.refuse("headers", refused.reason, refused.hint)
                continue
            for known in [known for known in headers if known.lower() == name.lower()]:
                del headers[known]
            if value:
                headers[name] = value
        return headers

    def _mounts(self, table: Table, host: str) -> tuple[Mount, ...]:
        wanted = table.data.get("backends", [])
        if isinstance(wanted, dict):
            pairs: list[tuple[str, str | None]] = list(table.pairs("backends").items())
        else:
            pairs = [(name, None) for name in table.texts("backends", str)]
        mounts = []
        for name, prefix in pairs:
            if name not in self.prefixes:
                table.refuse("backends", f"there is no back end {name!r}", nearest(name, self.prefixes))
                continue
            try:
                mounted = self.prefixes[name] if prefix is None else values.check_prefix(prefix)
            except Refused as refused:
                table.refuse("backends", refused.reason, refused.hint)
                continue
            mounts.append(Mount(host, mounted, name))
        return tuple(mounts)

    def _check_prefixes(self, table: Table, host: Host) -> None:
        taken: dict[str, str] = {}
        if host.static is not None:
            taken[host.static_prefix] = "the static folder"
        for mount in host.mounts:
            if mount.prefix in taken:
                shown = mount.prefix or "/"
                hint = f'give one its own: backends = {{ {mount.backend} = "/other" }}'
                table.refuse("backends", f"{mount.backend} and {taken[mount.prefix]} are both at {shown}", hint)
            taken.setdefault(mount.prefix, mount.backend)
            within = mount.prefix.startswith(host.static_prefix + "/")
            if host.static is not None and host.static_prefix and within:
                table.refuse("backends", f"{mount.prefix} lies within the static folder's {host.static_prefix}")

    # -- the hosts against each other

    def _check_names(self, hosts: tuple[Host, ...]) -> None:
        taken: dict[str, int] = {}
        defaults: list[int] = []
        for index, host in enumerate(hosts):
            table = self.tables[index]
            for key, name in [("name", host.name), *(("aliases", alias) for alias in host.aliases)]:
                if name in taken:
                    whose = "this host" if taken[name] == index else f"the host {hosts[taken[name]].name}"
                    table.refuse(key, f"{name} is already a name of {whose}", "each name belongs to one host")
                taken.setdefault(name, index)
            if host.default:
                defaults.append(index)
                if len(defaults) > 1:
                    first = hosts[defaults[0]].name
                    table.refuse("default", f"the host {first} is the default already", "write default = true once")


def existing_folder(base: Path, text: str) -> Path:
    """An existing folder that the site file names, links resolved. Raises Refused."""
    path = base / values.check_path_text(text)
    try:
        folder = path.resolve()
        found = folder.is_dir()
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise Refused(f"the folder {values.shown(text)} cannot be looked at: {error}") from None
    if not found:
        raise Refused(f"there is no folder {folder}")
    if not str(folder).isprintable():
        raise Refused(f"the folder {str(folder)!r} has control characters in its path")
    return folder


def home_of(host: Host) -> str:
    """Where "/" leads when the site file does not say: to the first back end, if nothing serves the root."""
    if any(not mount.prefix for mount in host.mounts) or (host.static is not None and not host.static_prefix):
        return ""
    return f"{host.mounts[0].prefix}/" if host.mounts else ""
