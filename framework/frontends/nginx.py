"""A site as a configuration of nginx 1.22 or later: the same site as `lighttpd` makes, told to another server.

`generate` gives the whole file as text, commented for the person who reads it; the same site gives the same text.
Nothing of the site file can end a string, add a directive or become a variable: every value goes through `quote` or
`literal`, every name in a pattern through `re.escape`. Nothing is started or written here.

nginx runs in the foreground as its own user already (there is no `user` directive), writes its log to standard error,
and keeps what it must write in the site's `frontend_directory`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from framework.frontends.media import COMPRESSED, MEDIA_TYPES
from framework.frontends.pages import RETRY_AFTER, UNAVAILABLE_URL, robots_name, robots_text, unavailable_name
from framework.site.schema import Foreign, Host, Listen, Mount, Site

MAX_CONNECTIONS: Final = 512
IDLE_SECONDS: Final = 60
"""Seconds a client may be silent within a request."""
ANSWER_SECONDS: Final = 3600
"""Seconds a back end may be silent within an answer: a stream of events may be."""
MAX_TOKEN_BYTES: Final = 4000
"""nginx reads its configuration in pieces of 4096 bytes, and no string may be longer than one."""

_HIDDEN: Final = r"/\.(?!well-known/)"
_HOST_HEADER: Final = r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\z"
_PARAMS: Final = (
    ("GATEWAY_INTERFACE", "CGI/1.1"),
    ("SERVER_SOFTWARE", "nginx"),
    ("SERVER_PROTOCOL", "$server_protocol"),
    ("SERVER_NAME", "$server_name"),
    ("SERVER_ADDR", "$server_addr"),
    ("SERVER_PORT", "$server_port"),
    ("REMOTE_ADDR", "$remote_addr"),
    ("REMOTE_PORT", "$remote_port"),
    ("REQUEST_METHOD", "$request_method"),
    ("REQUEST_SCHEME", "$scheme"),
    ("REQUEST_URI", "$request_uri"),
    ("QUERY_STRING", "$query_string"),
    ("SCRIPT_NAME", "$mounted"),
    ("PATH_INFO", "$below"),
    ("DOCUMENT_ROOT", "$document_root"),
    ("SCRIPT_FILENAME", "$document_root$mounted"),
)
_PARAMS_IF_NOT_EMPTY: Final = (
    ("HTTPS", "$https"),
    ("CONTENT_TYPE", "$content_type"),
    ("CONTENT_LENGTH", "$content_length"),
    ("HTTP_HOST", "$authority"),
    ("HTTP_PROXY", ""),
)
_NOT_FOR_APPLICATIONS: Final = ("X-Accel-Redirect", "X-Accel-Buffering", "X-Accel-Charset", "X-Accel-Limit-Rate")


def generate(
    site: Site,
    *,
    pid_file: Path | None = None,
    upload_directory: Path | None = None,
    certificates: Mapping[str, tuple[Path, Path]] | None = None,
    pages: str = "",
) -> str:
    """The complete configuration of `site` for nginx.

    pid_file          where nginx writes its process id (default: ``nginx.pid`` in `site.frontend_directory`)
    upload_directory  where it keeps request bodies on their way to a back end (default: `site.frontend_directory`)
    certificates      certificate and key of each host, by name, in the place of those of the site file
    pages             how the paths of the pages of `framework.frontends.pages` begin (default: `site.pages_directory`)

    Both folders must exist and belong to the front end's user when nginx starts. Raises ValueError for a value that
    nginx's syntax cannot carry; `framework.site.load` lets none through but for text of more than 4000 bytes.

    >>> Path("nginx.conf").write_text(generate(site))
    """
    pid_file = pid_file or site.frontend_directory / "nginx.pid"
    upload_directory = upload_directory or site.frontend_directory
    pages = pages or f"{site.pages_directory}/"
    if certificates is None:
        certificates = {host.name: (host.certificate, host.key) for host in site.hosts if host.certificate and host.key}
    sections = [
        _general(),
        _temporary(upload_directory),
        _limits(site),
        _requests(),
        *_tls(site, certificates),
        _params(_PARAMS),
        _static_defaults(),
        *(_upstream(site, name) for name in (*site.backends, *site.foreign)),
        *(_host(site, index, certificates.get(host.name), pages) for index, host in enumerate(site.hosts)),
    ]
    inner = "\n\n".join("\n".join(f"    {line}" if line else "" for line in lines) for lines in sections)
    return "\n".join([*_head(site, pid_file), "http {", inner, "}", ""])


class _Variable(str):
    """A header's value that is a variable of the configuration itself."""

    __slots__ = ()


def quote(text: str) -> str:
    r"""`text` as a string of nginx's configuration syntax, where the directive knows no variables.

    A backslash before a quote, a backslash, n, r or t is special there; all are doubled. Raises ValueError for control
    characters and for more than MAX_TOKEN_BYTES.

    >>> quote('say "hi"')
    '"say \\"hi\\""'
    """
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError(f"a string of nginx's configuration cannot hold control characters: {text!r}")
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if len(quoted.encode(errors="surrogateescape")) > MAX_TOKEN_BYTES:
        raise ValueError(f"a string of nginx's configuration cannot be longer than {MAX_TOKEN_BYTES} bytes")
    return quoted


def literal(text: str) -> str:
    """`text` as a string where the directive knows variables: a dollar, which cannot be quoted, becomes a variable.

    >>> literal("$1")
    '"${dollar}1"'
    """
    return quote(text).replace("$", "${dollar}")


def _head(site: Site, pid_file: Path) -> list[str]:
    return [
        f"# nginx for the site {quote(site.name)}. Generated from its site file by sitectl: change that, not this.",
        "# Syntax check: nginx -t -c FILE. Runs in the foreground, as its own user from the start: so there is no user",
        "# directive here, and the log goes to standard error.",
        "daemon off;",
        "worker_processes 1;",
        f"worker_rlimit_nofile {MAX_CONNECTIONS * 2 + 128};",
        "# After a reload the process with the old configuration finishes its answers beside the new one.",
        "worker_shutdown_timeout 60s;",
        f"pid {quote(str(pid_file))};",
        "error_log stderr error;",
        "events {",
        "    # A connection of a client, and one to its back end.",
        f"    worker_connections {MAX_CONNECTIONS * 2 + 64};",
        "}",
    ]


def _general() -> list[str]:
    return [
        "access_log off;",
        "log_not_found off;",
        "# The version of the server is nobody's business (its name cannot be left out).",
        "server_tokens off;",
        "absolute_redirect off;",
        "sendfile on;",
        "server_names_hash_bucket_size 512;",
        "server_names_hash_max_size 8192;",
        "# A dollar for strings in which it would begin a variable.",
        'geo $dollar { default "$"; }',
    ]


def _temporary(directory: Path) -> list[str]:
    lines = [
        "# Request bodies are complete before a back end sees them; large ones wait in this folder.",
        "fastcgi_request_buffering on;",
        f"client_body_temp_path {quote(str(directory / 'body'))};",
        "client_body_buffer_size 64k;",
    ]
    unused = ("fastcgi", "proxy", "uwsgi", "scgi")
    lines.append("# Made at the start, whether used or not.")
    lines += [f"{name}_temp_path {quote(str(directory / name))};" for name in unused]
    return [
        *lines,
        "# Answers go out as they come; a slow client slows the back end down and fills no disk.",
        "fastcgi_buffering off;",
        "fastcgi_max_temp_file_size 0;",
    ]


def _limits(site: Site) -> list[str]:
    return [
        "# Limits. All parameters of a request must fit one FastCGI record of 65535 bytes.",
        f"client_max_body_size {site.max_request_size};",
        "client_header_buffer_size 1k;",
        "large_client_header_buffers 2 16k;",
        f"client_header_timeout {IDLE_SECONDS}s;",
        f"client_body_timeout {IDLE_SECONDS}s;",
        "send_timeout 360s;",
        "keepalive_timeout 10s;",
        "keepalive_requests 1000;",
        "fastcgi_connect_timeout 8s;",
        f"fastcgi_send_timeout {IDLE_SECONDS}s;",
        f"fastcgi_read_timeout {ANSWER_SECONDS}s;",
        "# The head of an answer has to fit this.",
        "fastcgi_buffer_size 32k;",
        "fastcgi_buffers 8 32k;",
    ]


def _requests() -> list[str]:
    absolute = r"~*^[^ ]+ +https?://(?<target>[^/?#]*)"
    return [
        "# Paths are decoded and rid of /./, /../ and // before anything is compared. The host of an absolute target",
        "# goes before the Host header (RFC 9112, 3.2.2).",
        "map $request $authority {",
        f"    {quote(absolute)} $target;",
        "    default $http_host;",
        "}",
        "# Refused: a malformed Host header, and control characters in a path, however they are written.",
        "map $authority $bad_host {",
        "    default 1;",
        '    "" 0;',
        f"    {quote('~^' + _HOST_HEADER)} 0;",
        "}",
        "map $request_uri $bad_path {",
        "    default 0;",
        f"    {quote('~*^[^?]*%(?:[01][0-9a-f]|7f)')} 1;",
        "}",
    ]


def _tls(site: Site, certificates: Mapping[str, tuple[Path, Path]]) -> list[list[str]]:
    """TLS for all hosts, and what redirects and HSTS take."""
    lines = []
    if any(host.redirect_aliases for host in site.hosts):
        lines += ["# The port that a client names.", "map $authority $named_port {"]
        lines += [f"    {quote('~(?<given>:[0-9]+)$')} $given;", '    default "";', "}"]
    if site.tls_port:
        name = site.default_host.name
        pair = certificates[name] if name in certificates else next(iter(certificates.values()))
        lines += [
            "# TLS 1.2 and 1.3, no ciphers without forward secrecy. For names that no host has, this certificate.",
            "ssl_protocols TLSv1.2 TLSv1.3;",
            f"ssl_ciphers {quote('ECDHE+AESGCM:ECDHE+CHACHA20')};",
            "ssl_prefer_server_ciphers off;",
            "ssl_session_cache shared:sessions:1m;",
            "ssl_session_tickets off;",
            *_certificate(pair),
        ]
    for index, host in enumerate(site.hosts):
        if host.hsts_max_age:
            lines.append(f'map $https $hsts_{index} {{ "on" "max-age={host.hsts_max_age}"; default ""; }}')
    return [lines] if lines else []


def _certificate(pair: tuple[Path, Path]) -> list[str]:
    if any("$" in str(file) for file in pair):
        raise ValueError("nginx's configuration cannot hold the path of a certificate or key with a $")
    return [f"ssl_certificate {quote(str(pair[0]))};", f"ssl_certificate_key {quote(str(pair[1]))};"]


def _params(params: Iterable[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in (*_PARAMS, *_PARAMS_IF_NOT_EMPTY))
    return [
        "# What a back end is told. The site's own locations set $mounted and $below.",
        *(f"fastcgi_param {name:<{width}} {value};" for name, value in params),
        *(f"fastcgi_param {name:<{width}} {value or quote('')} if_not_empty;" for name, value in _PARAMS_IF_NOT_EMPTY),
        "# (HTTP_PROXY, empty: many programs would obey a request's Proxy header, CVE-2016-5385.)",
        "# An application orders nothing here: these headers of its answers mean nothing, and end here.",
        f"fastcgi_ignore_headers {' '.join(_NOT_FOR_APPLICATIONS)};",
    ]


def _static_defaults() -> list[str]:
    known = {suffix: media_type for suffix, media_type in MEDIA_TYPES.items() if suffix}
    width = max(len(quote(media_type)) for media_type in known.values())
    by_type: dict[str, list[str]] = {}
    for suffix, media_type in known.items():
        by_type.setdefault(media_type, []).append(suffix[1:])
    return [
        "# Static files: no listing of folders; no way out of them by symbolic links (in each location).",
        "autoindex off;",
        "index index.xhtml index.html;",
        f"default_type {quote(MEDIA_TYPES[''])};",
        "types {",
        *(f"    {quote(media_type):<{width}} {' '.join(names)};" for media_type, names in by_type.items()),
        "}",
    ]


def _upstream_name(site: Site, backend: str) -> str:
    return quote(f"{site.name}-{backend}")


def _upstream(site: Site, backend: str) -> list[str]:
    address = site.foreign[backend].address if backend in site.foreign else site.socket_path(backend)
    server = str(address) if isinstance(address, Listen) else f"unix:{address}"
    body = [
        f"server {quote(server)} max_fails=0;",
        "# Connections are not kept: the next free process takes each, after a reload one of the new generation.",
        "# And no request is sent on one that a process which ends is closing: nginx repeats no POST.",
    ]
    return [f"# The back end {backend}.", *_block(f"upstream {_upstream_name(site, backend)}", body)]


def _host(site: Site, index: int, certificate: tuple[Path, Path] | None, pages: str) -> list[str]:
    host = site.hosts[index]
    title = f"# {quote(host.name)}{': the default, for unknown names too' if host.default else ''}."
    headers = {
        **host.headers,
        **({"Strict-Transport-Security": _Variable(f"$hsts_{index}")} if host.hsts_max_age else {}),
    }
    body = [
        *(_listen(listen, host) for listen in site.addresses),
        f"server_name {' '.join(map(quote, host.names))};",
        "if ($bad_host) { return 400; }",
        "if ($bad_path) { return 400; }",
        "# HTTP/0.9, whose answers have no head: none of the headers below.",
        'if ($server_protocol = "") { return 400; }',
        *(_certificate(certificate) if certificate is not None else []),
        *_redirects(site, host),
        *_headers(headers),
        *(f"fastcgi_hide_header {quote(name)};" for name in headers),
    ]
    if certificate is None and site.tls_port:
        body += ["# It has no certificate: not by TLS.", "if ($https) { return 421; }"]
    body += _own_pages(site, host, headers, pages)
    if host.home:
        body += ["", *_block('location = "/"', [f"return 302 {literal(host.home)};"])]
    if host.static is not None and host.static_prefix:
        body += ["", *_static(host, host.static, headers)]
    for mount in sorted(host.mounts, key=lambda mount: -len(mount.prefix)):
        if mount.prefix:
            body += ["", *_below(site, mount)]
    if host.static is not None and not host.static_prefix:
        body += ["", *_static(host, host.static, headers)]
    else:
        root = next((mount for mount in host.mounts if not mount.prefix), None)
        body += ["", *(_block('location "/"', ["return 404;"]) if root is None else _at_root(site, root))]
    return [title, *_block("server", body)]


def _listen(listen: Listen, host: Host) -> str:
    address = f"[{listen.address}]" if ":" in listen.address else listen.address
    return f"listen {address}:{listen.port}{' ssl' if listen.tls else ''}{' default_server' if host.default else ''};"


def _redirects(site: Site, host: Host) -> list[str]:
    """To https and to the name. A name that is no host's is not repeated to the client."""
    lines = []
    if host.https_redirect:
        port = "" if site.tls_port == 443 else f":{site.tls_port}"
        lines += ["# Plain HTTP only leads to https.", f"set $name {literal(host.name)};"]
        if host.aliases and not host.redirect_aliases:
            lines.append(f"if ($host ~ {quote(_names_pattern(host.names))}) {{ set $name $host; }}")
        lines.append(f'if ($https = "") {{ return 308 "https://${{name}}{port}$request_uri"; }}')
    if host.redirect_aliases and host.aliases:
        condition = f"if ($host ~ {quote(_names_pattern(host.aliases))})"
        lines += ["# Other names of it lead to its name."]
        lines += [f'{condition} {{ return 308 "$scheme://{literal(host.name)[1:-1]}$named_port$request_uri"; }}']
    return lines


def _names_pattern(names: Iterable[str]) -> str:
    """Matches these names of a host, in its own block: nginx has found the host by name, or taken the default one."""
    patterns = [rf"[a-z0-9_.-]+{re.escape(name[1:])}" if name.startswith("*.") else re.escape(name) for name in names]
    return rf"^(?:{'|'.join(patterns)})\z"


def _own_pages(site: Site, host: Host, headers: Mapping[str, str], pages: str) -> list[str]:
    """The pages that come from this host itself."""
    lines = []
    if host.mounts:
        page = [
            "internal;",
            f"alias {literal(pages + unavailable_name(host))};",
            "types { }",
            f"default_type {quote(MEDIA_TYPES['.html'])};",
            *_headers({name: value for name, value in headers.items() if name.lower() != "cache-control"}),
            "add_header Cache-Control no-store always;",
            f"add_header Retry-After {RETRY_AFTER} always;",
        ]
        lines += ["", "# For a back end that is down.", f"error_page 502 504 =503 {UNAVAILABLE_URL};"]
        lines += _block(f"location = {quote(UNAVAILABLE_URL)}", page)
    if robots_text(site, host):
        alias = [f"alias {literal(pages + robots_name(host))};"]
        lines += ["", *_block('location = "/robots.txt"', alias)]
    return lines


def _below(site: Site, mount: Mount) -> list[str]:
    """One back end; a longer prefix comes earlier in the file, and the first that fits is the one that counts."""
    foreign = site.foreign.get(mount.backend)
    if foreign is not None and foreign.root is not None:
        others = rf"(?s)^{re.escape(mount.prefix)}(?:/|\z)"
        rest = _block(f"location ~ {quote(others)}", ["return 404;"])
        redirect = [f'return 308 {literal(f"{mount.prefix}/")[:-1]}$is_args$args";']
        return [
            *_block(f"location = {quote(mount.prefix)}", redirect),
            *_scripts(site, mount, foreign, foreign.root),
            *rest,
        ]
    pattern = rf"(?s)^(?<mounted>{re.escape(mount.prefix)})(?<below>|/.*)\z"
    return _block(f"location ~ {quote(pattern)}", [_pass(site, mount)])


def _at_root(site: Site, mount: Mount) -> list[str]:
    foreign = site.foreign.get(mount.backend)
    if foreign is not None and foreign.root is not None:
        return [*_scripts(site, mount, foreign, foreign.root), *_block('location "/"', ["return 404;"])]
    return _block('location "/"', ['set $mounted "";', "set $below $uri;", _pass(site, mount)])


def _pass(site: Site, mount: Mount) -> str:
    return f"fastcgi_pass {_upstream_name(site, mount.backend)};"


def _scripts(site: Site, mount: Mount, foreign: Foreign, root: Path) -> list[str]:
    """Scripts below a folder: a file that is there, whose name has the right end, and no path after it."""
    end = re.escape(foreign.suffix)
    files = rf"(?!.*{end}/)(?:/[^/.][^/]*)*/(?:[^/.][^/]*{end})?"
    pattern = rf"(?s)^(?<mounted>{re.escape(mount.prefix)})(?<below>{files})\z"
    own = {
        "SCRIPT_NAME": "$mounted$script",
        "PATH_INFO": quote(""),
        "SCRIPT_FILENAME": "$document_root$script",
        "REDIRECT_STATUS": "200",
    }
    body = [
        "# Only scripts that are there are run, and nothing else of their folder is shown.",
        f"root {literal(str(root))};",
        "disable_symlinks on from=$document_root;",
        "set $script $below;",
        f'if ($below ~ "/$") {{ set $script "${{below}}{literal(foreign.index)[1:-1]}"; }}',
        "if (!-f $document_root$script) { return 404; }",
        *_params([*((name, value) for name, value in _PARAMS if name not in own), *own.items()]),
        _pass(site, mount),
    ]
    return _block(f"location ~ {quote(pattern)}", body)


def _headers(headers: Mapping[str, str]) -> list[str]:
    lines = []
    for name, value in headers.items():
        written = value if isinstance(value, _Variable) else literal(value)
        lines.append(f"add_header {quote(name)} {written} always;")
    return lines


def _static(host: Host, folder: Path, headers: Mapping[str, str]) -> list[str]:
    """The static folder, within the part of the host's URLs that is its own."""
    caching = f"public, max-age={host.static_max_age}" if host.static_max_age else "no-cache"
    files = [
        "disable_symlinks on from=$document_root;",
        "# (A location with headers of its own takes none from the server.)",
        *_headers({name: value for name, value in headers.items() if name.lower() != "cache-control"}),
        f"add_header Cache-Control {quote(caching)};",
    ]
    if host.compression:
        types = [media_type for media_type in MEDIA_TYPES.values() if media_type.partition(";")[0] in COMPRESSED]
        files += ["gzip on;", "gzip_vary on;", "gzip_min_length 256;"]
        files.append(f"gzip_types {' '.join(map(quote, dict.fromkeys(types)))};")
    hidden = ["# Hidden files stay hidden.", *_block(f"location ~ {quote(_HIDDEN)}", ["return 403;"])]
    if host.static_prefix:
        prefix = f"{host.static_prefix}/"
        body = [f"alias {literal(f'{folder}/')};", *files, *hidden]
        return _block(f"location ^~ {quote(prefix)}", body)
    return [*hidden, "", *_block('location "/"', [f"root {literal(f'{folder}/')};", *files])]


def _block(condition: str, lines: Iterable[str]) -> list[str]:
    return [f"{condition} {{", *(f"    {line}" if line else "" for line in lines), "}"]
