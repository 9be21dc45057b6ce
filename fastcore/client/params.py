"""The CGI parameters of a request, as a web server builds them (RFC 3875 §4.1; checked against lighttpd 1.4.69).

Values are "native strings" of PEP 3333: text whose characters are the bytes, one to one. No sockets here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_to_bytes, urlsplit

__all__ = ["cgi_params", "header_params"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET_SAFE = "!#$%&'()*+,-./:;=?@[]_~"
_DEFAULT_PORTS = {"http": 80, "https": 443}

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


def cgi_params(
    method: str,
    target: str,
    headers: Headers = (),
    *,
    body_length: int | None = None,
    script_name: str = "",
    scheme: str = "",
    server_name: str = "",
    server_port: int | None = None,
    server_addr: str = "127.0.0.1",
    remote_addr: str = "127.0.0.1",
    remote_port: int = 0,
    document_root: str = "",
    protocol: str = "HTTP/1.1",
    software: str = "fastcore.client",
) -> dict[str, str]:
    """Parameters for a request of `method` to `target`, a path with its query, or a URL with scheme and host.

    The path is split after `script_name`, the prefix at which the application is mounted. `body_length` (bytes) becomes
    CONTENT_LENGTH; without it that of a Content-Length header, else 0. Name and port of the server come from the URL,
    else from a Host header, else they are localhost and 80. Raises ValueError for what no web server would pass on.

    >>> params = cgi_params("GET", "/status/disks?all=1", {"Accept": "text/html"}, script_name="/status")
    >>> params["SCRIPT_NAME"], params["PATH_INFO"], params["QUERY_STRING"], params["HTTP_ACCEPT"]
    ('/status', '/disks', 'all=1', 'text/html')
    """
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is not an HTTP method")
    fields = header_params(headers)
    path, query, authority, url_scheme = _split_target(target)
    if authority:
        fields["HTTP_HOST"] = authority
    scheme = scheme or url_scheme or "http"
    host, port = _split_authority(fields.get("HTTP_HOST", ""))
    content_length = fields.pop("CONTENT_LENGTH", "0")
    params = {
        "CONTENT_LENGTH": content_length if body_length is None else str(body_length),
        "QUERY_STRING": query,
        "REQUEST_URI": f"{path}?{query}" if query else path,
        "REDIRECT_STATUS": "200",
        **_split_path(unquote_to_bytes(path).decode("latin-1"), script_name, document_root),
        "REQUEST_METHOD": method,
        "SERVER_PROTOCOL": protocol,
        "SERVER_SOFTWARE": software,
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_SCHEME": scheme,
        "SERVER_PORT": str(server_port or port or _DEFAULT_PORTS.get(scheme, 80)),
        "SERVER_ADDR": server_addr,
        "SERVER_NAME": server_name or host or "localhost",
        "REMOTE_ADDR": remote_addr,
        "REMOTE_PORT": str(remote_port),
    }
    if scheme == "https":
        params["HTTPS"] = "on"
    return params | fields


def header_params(headers: Headers) -> dict[str, str]:
    """Header lines as parameters: HTTP_NAME, but CONTENT_TYPE and CONTENT_LENGTH.

    Repeated ones are joined by ``", "``, cookies by ``"; "``. A ``Proxy`` header is left out (CVE-2016-5385). Raises
    ValueError for a name that is no token, or a value with a control character.
    """
    params: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an HTTP header")
        if _BAD_VALUE.search(value):
            raise ValueError(f"the value of the header {name} holds a control character")
        key = re.sub(r"[^0-9A-Z]", "_", name.upper())
        if key == "PROXY":
            continue
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        value = value.strip(" \t")
        if key in params:
            value = f"{params[key]}{'; ' if key == 'HTTP_COOKIE' else ', '}{value}"
        params[key] = value
    return params


def _split_target(target: str) -> tuple[str, str, str, str]:
    """(path, query, authority, scheme); path and query percent-encoded where a client would have to."""
    scheme = authority = ""
    if re.match(r"https?://", target):
        url = urlsplit(target)
        scheme, authority = url.scheme, url.netloc.rpartition("@")[2]
        target = url.path + (f"?{url.query}" if url.query else "")
        if not target.startswith("/"):
            target = f"/{target}"
    if not target.startswith("/") and target != "*":
        raise ValueError(f"{target!r} is no request target: it begins with / or http://")
    if re.search(r"[\x00-\x1f\x7f]", target):
        raise ValueError(f"the request target holds a control character: {target!r}")
    path, _, query = quote(target.partition("#")[0], safe=_TARGET_SAFE).partition("?")
    return path, query, authority, scheme


def _split_path(path: str, script_name: str, document_root: str) -> dict[str, str]:
    script_name = script_name.rstrip("/")
    rest = path.removeprefix(script_name)
    if not path.startswith(script_name) or (rest and script_name and not rest.startswith("/")):
        raise ValueError(f"the path {path!r} does not lie below the prefix {script_name!r}")
    params = {"SCRIPT_NAME": script_name}
    if rest:
        params["PATH_INFO"] = rest
    if document_root:
        root = document_root.rstrip("/")
        if rest:
            params["PATH_TRANSLATED"] = root + rest
        params["SCRIPT_FILENAME"] = f"{root}{script_name or '/'}"
        params["DOCUMENT_ROOT"] = root or "/"
    return params


def _split_authority(authority: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/\s]*)(?::([0-9]{1,5}))?", authority)
    if match is None:
        raise ValueError(f"{authority!r} is not the name of a host")
    return match[1].lower(), int(match[2]) if match[2] else None
