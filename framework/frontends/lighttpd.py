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

from framework.frontends.media import COMPRESSED, MEDIA_TYPES
from framework.frontends.pages import RETRY_AFTER, UNAVAILABLE_URL, robots_name, robots_text, unavailable_name
from framework.site.schema import Foreign, Host, Listen, Mount, Site

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
    certificates: Mapping[str, tuple[Path, Path]] | None = None,
    pages: str = "",
) -> str:
    """The complete configuration of `site` for lighttpd.

    pid_file          where lighttpd writes its process id (default: ``lighttpd.pid`` in `site.frontend_directory`)
    upload_directory  where it keeps request bodies on their way to a back end (default: `site.frontend_directory`)
    certificates      certificate and key of each host, by name, in the place of those of the site file
    pages             how the paths of the pages of `framework.frontends.pages` begin (default: `site.pages_directory`)

    Both folders must exist and belong to the front end's user when lighttpd starts. Raises ValueError for a value that
    lighttpd's syntax cannot carry; `framework.site.load` lets none through.

    >>> Path("lighttpd.conf").write_text(generate(site))
    """
    pid_file = pid_file or site.frontend_directory / "lighttpd.pid"
    upload_directory = upload_directory or site.frontend_directory
    pages = pages or f"{site.pages_directory}/"
    if certificates is None:
        certificates = {host.name: (host.certificate, host.key) for host in site.hosts if host.certificate and host.key}
    sections = [
        _head(site),
        _process(site, pid_file, upload_directory),
        *_addresses(site, certificates),
        _limits(site),
        _requests(),
        _static_defaults(),
        *(_host(site, host, certificates.get(host.name), pages) for host in site.hosts),
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
    modules = [*_MODULES]
    if any(listen.tls for listen in site.addresses):
        modules.append("mod_openssl")
    if any(host.compression and host.static is not None for host in site.hosts):
        modules.append("mod_deflate")
    return [
        "# Only the modules that are named are loaded. mod_setenv goes first: refusals carry its headers too.",
        'server.compat-module-load = "disable"',
        "server.modules = (",
        *(f"  {quote(module)}," for module in modules),
        ")",
        "",
        f"server.bind = {quote(_bracketed(site.listen))}",
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


def _bracketed(listen: Listen) -> str:
    return f"[{listen.address}]" if ":" in listen.address else listen.address


def _addresses(site: Site, certificates: Mapping[str, tuple[Path, Path]]) -> list[list[str]]:
    """The addresses beside the first, and TLS."""
    others = [listen for listen in site.addresses if listen.tls or listen != site.listen]
    if not others:
        return []
    lines = ["# More addresses, and those that speak TLS." if site.tls_port else "# More addresses."]
    for listen in others:
        condition = f'$SERVER["socket"] == {quote(f"{_bracketed(listen)}:{listen.port}")}'
        lines += _block(condition, ['ssl.engine = "enable"'] if listen.tls else [])
    if not site.tls_port:
        return [lines]
    name = site.default_host.name
    pair = certificates[name] if name in certificates else next(iter(certificates.values()))
    tls = [
        "# TLS 1.2 and 1.3, no ciphers without forward secrecy. For names that no host has, this certificate.",
        "ssl.openssl.ssl-conf-cmd = (",
        '  "MinProtocol" => "TLSv1.2",',
        '  "Options" => "-ServerPreference",',
        '  "CipherString" => "ECDHE+AESGCM:ECDHE+CHACHA20",',
        ")",
        *_certificate(pair),
    ]
    return [lines, tls]


def _certificate(pair: tuple[Path, Path]) -> list[str]:
    return [f"ssl.pemfile = {quote(str(pair[0]))}", f"ssl.privkey = {quote(str(pair[1]))}"]


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


def _host(site: Site, host: Host, certificate: tuple[Path, Path] | None, pages: str) -> list[str]:
    if host.default:
        others = [pattern for other in site.hosts if other is not host for pattern in _name_patterns(site, other)]
        title = f"# {quote(host.name)}: the default, for unknown names too."
        condition = f'$HTTP["host"] !~ {quote(_names(others))}' if others else '$HTTP["host"] =~ ""'
    else:
        title = f"# {quote(host.name)}"
        condition = f'$HTTP["host"] =~ {quote(_names(_name_patterns(site, host)))}'
    body = [f"server.name = {quote(host.name)}", *_answer_headers(host, {})]
    if certificate is not None:
        body += _certificate(certificate)
    elif site.tls_port:
        refuse = ["# It has no certificate: not by TLS.", 'url.access-deny = ( "" )']
        body += _block('$HTTP["scheme"] == "https"', refuse)
    if host.static is not None:
        body += ["", *_static(host, host.static)]
    for mount in sorted(host.mounts, key=lambda mount: len(mount.prefix)):
        body += ["", *_mount(site, host, mount)]
    body += _own_pages(site, host, pages)
    if host.home:
        redirect = [f'url.redirect = ( "" => {quote(host.home)} )', "url.redirect-code = 302"]
        body += ["", *_block('$HTTP["url"] == "/"', redirect)]
    return [title, *_block(condition, [*body, *_redirects(site, host)])]


def _own_pages(site: Site, host: Host, pages: str) -> list[str]:
    """The pages that come from this host itself."""
    lines = []
    if host.mounts:
        page = pages + unavailable_name(host)
        headers = {**host.headers, "Cache-Control": "no-store", "Retry-After": str(RETRY_AFTER)}
        body = [
            f"alias.url = ( {quote(UNAVAILABLE_URL)} => {quote(page)} )",
            "# (The path of the request that failed may still stand behind this one's.)",
            'static-file.disable-pathinfo = "disable"',
            *_answer_headers(host, headers),
        ]
        lines += ["", "# For a back end that is down.", *_block(f'$HTTP["url"] == {quote(UNAVAILABLE_URL)}', body)]
    if robots_text(site, host):
        page = pages + robots_name(host)
        body = [f'alias.url = ( "/robots.txt" => {quote(page)} )']
        lines += ["", *_block('$HTTP["url"] == "/robots.txt"', body)]
    return lines


def _redirects(site: Site, host: Host) -> list[str]:
    """To the name and to https; they come last, since the last that fits is the one that counts."""
    lines = []
    rest = "${url.path}${qsa}"
    if host.redirect_aliases and host.aliases:
        condition = f'$HTTP["host"] =~ {quote(_names(_name_patterns(site, host)[1:], port="(:[0-9]+)?:?"))}'
        target = f"${{url.scheme}}://{host.name}%1{rest}"
        redirect = [f'url.redirect = ( "" => {quote(target)} )', "url.redirect-code = 308"]
        lines += ["", "# Other names of it lead to its name.", *_block(condition, redirect)]
    if host.https_redirect:
        port = "" if site.tls_port == 443 else f":{site.tls_port}"
        redirect = [f'url.redirect = ( "" => {quote(f"https://{host.name}{port}{rest}")} )', "url.redirect-code = 308"]
        if host.aliases and not host.redirect_aliases:
            condition = f'$HTTP["host"] =~ {quote(_names(_name_patterns(site, host), group="(", port="(?::[0-9]*)?"))}'
            target = f"https://%1{port}{rest}"
            redirect += _block(condition, [f'url.redirect = ( "" => {quote(target)} )'])
        lines += ["", "# Plain HTTP only leads to https.", *_block('$HTTP["scheme"] == "http"', redirect)]
    return lines


def _name_patterns(site: Site, host: Host) -> list[str]:
    """A pattern for each name of a host, none of which matches what belongs to another one."""
    others = [name for other in site.hosts if other is not host for name in other.names]
    patterns = []
    for name in host.names:
        if not name.startswith("*."):
            patterns.append(re.escape(name))
            continue
        nearer = [_pattern(other) for other in others if other.endswith(name[1:])]
        but = f"(?!(?:{'|'.join(nearer)})(?::|\\z))" if nearer else ""
        patterns.append(but + _pattern(name))
    return patterns


def _pattern(name: str) -> str:
    return rf"[a-zA-Z0-9_.-]+{re.escape(name[1:])}" if name.startswith("*.") else re.escape(name)


def _names(patterns: Iterable[str], *, group: str = "(?:", port: str = "(?::[0-9]*)?") -> str:
    """Matches a Host header that gives one of these names, with any port."""
    return rf"^{group}{'|'.join(patterns)}){port}\z"


def _answer_headers(host: Host, headers: Mapping[str, str]) -> list[str]:
    """The headers of answers, those of the host unless others are given; by https HSTS too."""
    headers = headers or host.headers
    lines = _headers(headers)
    if host.hsts_max_age:
        hsts = {"Strict-Transport-Security": f"max-age={host.hsts_max_age}"}
        lines += _block('$HTTP["scheme"] == "https"', _headers({**headers, **hsts}))
    return lines


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
    body += _answer_headers(host, {**host.headers, **caching})
    if host.compression:
        types = ", ".join(map(quote, COMPRESSED))
        body += [f"deflate.mimetypes = ( {types} )", 'deflate.allowed-encodings = ( "gzip" )']
    hidden = r"/\.(?!well-known/)"
    body += ["# Hidden files stay hidden.", *_block(f'$HTTP["url"] =~ {quote(hidden)}', ['url.access-deny = ( "" )'])]
    return _block(condition, body)


def _mount(site: Site, host: Host, mount: Mount) -> list[str]:
    """One back end. A longer prefix comes later in the file, and the last that fits is the one that counts."""
    foreign = site.foreign.get(mount.backend)
    if foreign is not None and foreign.root is not None:
        return _scripts(site, host, mount, foreign, foreign.root)
    options = [*_address(site, mount.backend), '"check-local" => "disable"']
    if not mount.prefix:
        options.append('"fix-root-scriptname" => "enable"')
    return _where(site, host, mount, [*_server(mount.prefix or "/", options), *_when_down(site)])


def _server(key: str, options: Iterable[str]) -> list[str]:
    lines = (f"  {option}," for option in (*options, '"connect-timeout" => 8'))
    return [f"fastcgi.server = ( {quote(key)} => ((", *lines, ")))"]


def _address(site: Site, backend: str) -> list[str]:
    address = site.foreign[backend].address if backend in site.foreign else site.socket_path(backend)
    if isinstance(address, Listen):
        return [f'"host" => {quote(address.address)}', f'"port" => {address.port}']
    return [f'"socket" => {quote(str(address))}']


def _where(site: Site, host: Host, mount: Mount, lines: list[str]) -> list[str]:
    """`lines` for the paths of a mount alone."""
    if mount.prefix:
        return _block(f'$HTTP["url"] =~ {quote(_prefixes_pattern([mount]))}', lines)
    own = [re.escape(UNAVAILABLE_URL) + r"\z"]
    own += [r"/robots\.txt\z"] if robots_text(site, host) else []
    own += [f"{re.escape(host.static_prefix)}/"] if host.static is not None else []
    return _block(f'$HTTP["url"] !~ {quote("^(?:" + "|".join(own) + ")")}', lines)


def _when_down(site: Site) -> list[str]:
    """The page for a back end that is down; not for a body that is too large, which is an error of lighttpd's too."""
    kibibytes = -(-site.max_request_size // 1024)
    condition = f'$REQUEST_HEADER["Content-Length"] !~ {quote(_larger_than(kibibytes * 1024))}'
    return _block(condition, [f"server.error-handler = {quote(UNAVAILABLE_URL)}"])


def _larger_than(number: int) -> str:
    """A pattern for the decimal numbers over `number`."""
    digits = str(number)
    larger = [f"[0-9]{{{len(digits) + 1},}}"]
    for place, digit in enumerate(digits):
        if digit != "9":
            left = len(digits) - place - 1
            larger.append(f"{digits[:place]}[{int(digit) + 1}-9]" + (f"[0-9]{{{left}}}" if left else ""))
    return rf"^0*(?:{'|'.join(larger)})\z"


def _scripts(site: Site, host: Host, mount: Mount, foreign: Foreign, root: Path) -> list[str]:
    """Scripts below a folder: a file that is there, whose name has the right end, and no path after it."""
    end = re.escape(foreign.suffix)
    files = rf"^{re.escape(mount.prefix)}(?!.*{end}/)(?:/[^/.][^/]*)*/(?:[^/.][^/]*{end})?\z"
    if mount.prefix:
        where = f"alias.url = ( {quote(f'{mount.prefix}/')} => {quote(f'{root}/')} )"
    else:
        where = f"server.document-root = {quote(f'{root}/')}"
    run = [
        where,
        f"index-file.names = ( {quote(foreign.index)} )",
        *_server(foreign.suffix, _address(site, foreign.name)),
        *_when_down(site),
    ]
    lines = ["# Only scripts that are there are run, and nothing else of their folder is shown.", "fastcgi.server = ()"]
    lines += _block(f'$HTTP["url"] =~ {quote(files)}', run)
    if mount.prefix:
        redirect = [f'url.redirect = ( "" => {quote(f"{mount.prefix}/${{qsa}}")} )', "url.redirect-code = 308"]
        lines += _block(f'$HTTP["url"] == {quote(mount.prefix)}', redirect)
    return _where(site, host, mount, lines)


def _prefixes_pattern(mounts: Iterable[Mount]) -> str:
    r"""Matches a prefix and what lies below it: "^(?:/status|/notes)(?:/|\z)"; never /statusx."""
    prefixes = [re.escape(mount.prefix) for mount in mounts]
    joined = prefixes[0] if len(prefixes) == 1 else f"(?:{'|'.join(prefixes)})"
    return rf"^{joined}(?:/|\z)"


def _block(condition: str, lines: Iterable[str]) -> list[str]:
    return [f"{condition} {{", *(f"  {line}" if line else "" for line in lines), "}"]
