"""A site as a configuration of lighttpd 1.4.69 or later.

`generate` gives the whole file as text, commented for the person who reads it; the same site gives the same text.
Nothing of the site file can end a string or add a directive: every value goes through `quote`, every name in a pattern
through `re.escape`. Nothing is started or written here.

lighttpd runs in the foreground as its own user already (it is given no `server.username`), writes its log to standard
error, and keeps what it must write in the site's `frontend_directory`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from framework.frontends.media import MEDIA_TYPES
from framework.site.schema import Host, Mount, Site

MAX_HEADER_BYTES: Final = 16 * 1024
"""Bytes of a request's head; more is answered with 431."""
MAX_CONNECTIONS: Final = 512
IDLE_SECONDS: Final = 60
"""Seconds a client may be silent within a request."""

_MODULES: Final = (
    "mod_setenv",
    "mod_access",
    "mod_alias",
    "mod_indexfile",
    "mod_redirect",
    "mod_fastcgi",
    "mod_staticfile",
)


def generate(
    site: Site,
    *,
    pid_file: Path | None = None,
    upload_directory: Path | None = None,
) -> str:
    """The complete configuration of `site` for lighttpd.

    pid_file          where lighttpd writes its process id (default: ``lighttpd.pid`` in `site.frontend_directory`)
    upload_directory  where it keeps request bodies on their way to a back end (default: `site.frontend_directory`)

    Both folders must exist and belong to the front end's user when lighttpd starts. Raises ValueError for a value that
    lighttpd's syntax cannot carry; `framework.site.load` lets none through.

    >>> Path("lighttpd.conf").write_text(generate(site))
    """
    pid_file = pid_file or site.frontend_directory / "lighttpd.pid"
    upload_directory = upload_directory or site.frontend_directory
    sections = [
        _head(site),
        _process(site, pid_file, upload_directory),
        _limits(site),
        _requests(),
        _static_defaults(),
        *(_host(site, host) for host in site.hosts),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def quote(text: str) -> str:
    r"""`text` as a string of lighttpd's configuration syntax.

    A backslash stands for itself there, except before a quote. Raises ValueError for what no string can hold: control
    characters, and a backslash at the end.

    >>> quote('say "hi"')
    '"say \\"hi\\""'
    """
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError(f"a string of lighttpd's configuration cannot hold control characters: {text!r}")
    if text.endswith("\\"):
        raise ValueError(f"a string of lighttpd's configuration cannot end with a backslash: {text!r}")
    return '"' + text.replace('"', '\\"') + '"'


def _head(site: Site) -> list[str]:
    return [
        f"# lighttpd for the site {quote(site.name)}. Generated from its site file by sitectl: change that, not this.",
        "# Syntax check: lighttpd -tt -f FILE. Meant to run in the foreground (lighttpd -D), as its own user from the",
        "# start: so there is no server.username here, and the log goes to standard error.",
    ]


def _process(site: Site, pid_file: Path, upload_directory: Path) -> list[str]:
    address = f"[{site.listen.address}]" if ":" in site.listen.address else site.listen.address
    return [
        "# Only the modules that are named are loaded. mod_setenv goes first: refusals carry its headers too.",
        'server.compat-module-load = "disable"',
        "server.modules = (",
        *(f"  {quote(module)}," for module in _MODULES),
        ")",
        "",
        f"server.bind = {quote(address)}",
        f"server.port = {site.listen.port}",
        f"server.pid-file = {quote(str(pid_file))}",
        "",
        "# What is mounted nowhere is looked for here, and not found.",
        f"server.document-root = {quote(str(site.frontend_directory / 'nothing'))}",
        "",
        "# The name and version of the server are nobody's business.",
        'server.tag = ""',
        "server.feature-flags = (",
        '  "server.h2proto" => "disable",',
        '  "server.graceful-shutdown-timeout" => 5',
        ")",
        "",
        "# Request bodies are complete before a back end sees them; large ones wait in this folder.",
        f"server.upload-dirs = ( {quote(str(upload_directory))} )",
        "server.stream-request-body = 0",
        "# Answers go out as they come; a slow client slows the back end down and fills no disk.",
        "server.stream-response-body = 2",
    ]


def _limits(site: Site) -> list[str]:
    kibibytes = -(-site.max_request_size // 1024)
    return [
        "# Limits. max-request-size is in KiB, max-request-field-size in bytes, the others in seconds or connections.",
        f"server.max-request-size = {kibibytes}",
        f"server.max-request-field-size = {MAX_HEADER_BYTES}",
        f"server.max-connections = {MAX_CONNECTIONS}",
        f"server.max-fds = {MAX_CONNECTIONS * 2 + 64}",
        "server.max-keep-alive-requests = 1000",
        "server.max-keep-alive-idle = 10",
        f"server.max-read-idle = {IDLE_SECONDS}",
        "server.max-write-idle = 360",
    ]


def _requests() -> list[str]:
    return [
        "# Paths are decoded and rid of /./ and /../ before anything is compared; malformed requests end here.",
        "server.http-parseopts = (",
        '  "header-strict" => "enable",',
        '  "host-strict" => "enable",',
        '  "host-normalize" => "enable",',
        '  "url-normalize" => "enable",',
        '  "url-normalize-unreserved" => "enable",',
        '  "url-normalize-required" => "enable",',
        '  "url-ctrls-reject" => "enable",',
        '  "url-path-2f-decode" => "enable",',
        '  "url-path-dotseg-remove" => "enable"',
        ")",
        "# A request's Proxy header would become HTTP_PROXY, which many programs obey (CVE-2016-5385).",
        'setenv.set-request-header = ( "Proxy" => "" )',
    ]


def _static_defaults() -> list[str]:
    width = max(len(quote(suffix)) for suffix in MEDIA_TYPES)
    types = [f"  {quote(suffix):<{width}} => {quote(media_type)}," for suffix, media_type in MEDIA_TYPES.items()]
    return [
        "# Static files: no listing of folders, no way out of them by symbolic links.",
        'server.follow-symlink = "disable"',
        'static-file.etags = "enable"',
        'static-file.disable-pathinfo = "enable"',
        'index-file.names = ( "index.xhtml", "index.html" )',
        "mimetype.assign = (",
        *types,
        ")",
    ]


def _host(site: Site, host: Host) -> list[str]:
    if host.default:
        others = [name for other in site.hosts if other is not host for name in other.names]
        title = f"# {quote(host.name)}: the default, for unknown names too."
        condition = f'$HTTP["host"] !~ {quote(_names_pattern(others))}' if others else '$HTTP["host"] =~ ""'
    else:
        title = f"# {quote(host.name)}"
        condition = f'$HTTP["host"] =~ {quote(_names_pattern(host.names))}'
    body = [f"server.name = {quote(host.name)}", *_headers(host.headers)]
    if host.home:
        redirect = [f'url.redirect = ( "" => {quote(host.home)} )', "url.redirect-code = 302"]
        body += ["", *_block('$HTTP["url"] == "/"', redirect)]
    if host.static is not None:
        body += ["", *_static(host, host.static)]
    for mount in sorted(host.mounts, key=lambda mount: len(mount.prefix)):
        body += ["", *_mount(site, host, mount)]
    return [title, *_block(condition, body)]


def _names_pattern(names: Iterable[str]) -> str:
    """Matches a Host header that gives one of these names, with any port."""
    return rf"^(?:{'|'.join(map(re.escape, names))})(?::[0-9]*)?\z"


def _headers(headers: Mapping[str, str]) -> list[str]:
    if not headers:
        return []
    return [
        "setenv.set-response-header = (",
        *(f"  {quote(name)} => {quote(value)}," for name, value in headers.items()),
        ")",
    ]


def _static(host: Host, folder: Path) -> list[str]:
    """The static folder, within the part of the host's URLs that is its own."""
    if host.static_prefix:
        prefix = f"{host.static_prefix}/"
        condition = f'$HTTP["url"] =~ {quote(f"^{re.escape(prefix)}")}'
        body = [f"alias.url = ( {quote(prefix)} => {quote(f'{folder}/')} )"]
    else:
        prefix = "/"
        condition = f'$HTTP["url"] !~ {quote(_prefixes_pattern(host.mounts))}' if host.mounts else '$HTTP["url"] =~ ""'
        body = [f"server.document-root = {quote(f'{folder}/')}"]
    caching = {"Cache-Control": f"public, max-age={host.static_max_age}" if host.static_max_age else "no-cache"}
    body += _headers({**host.headers, **caching})
    hidden = r"/\.(?!well-known/)"
    body += ["# Hidden files stay hidden.", *_block(f'$HTTP["url"] =~ {quote(hidden)}', ['url.access-deny = ( "" )'])]
    return _block(condition, body)


def _mount(site: Site, host: Host, mount: Mount) -> list[str]:
    """One back end. A longer prefix comes later in the file, and the last that fits is the one that counts."""
    options = [f'"socket" => {quote(str(site.socket_path(mount.backend)))}', '"check-local" => "disable"']
    if not mount.prefix:
        options.append('"fix-root-scriptname" => "enable"')
    options.append('"connect-timeout" => 8')
    server = [
        f"fastcgi.server = ( {quote(mount.prefix or '/')} => ((",
        *(f"  {option}," for option in options),
        ")))",
    ]
    if mount.prefix:
        return _block(f'$HTTP["url"] =~ {quote(_prefixes_pattern([mount]))}', server)
    if host.static is not None:
        return _block(f'$HTTP["url"] !~ {quote(f"^{re.escape(host.static_prefix)}/")}', server)
    return server


def _prefixes_pattern(mounts: Iterable[Mount]) -> str:
    r"""Matches a prefix and what lies below it: "^(?:/status|/notes)(?:/|\z)"; never /statusx."""
    prefixes = [re.escape(mount.prefix) for mount in mounts]
    joined = prefixes[0] if len(prefixes) == 1 else f"(?:{'|'.join(prefixes)})"
    return rf"^{joined}(?:/|\z)"


def _block(condition: str, lines: Iterable[str]) -> list[str]:
    return [f"{condition} {{", *(f"  {line}" if line else "" for line in lines), "}"]
