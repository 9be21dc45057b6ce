"""Addresses as text, and as the four frozen values the rest of fastcore works with.

``unix:/path``, ``host:port`` (``[::1]:9000`` for IPv6), ``fd:0`` and ``systemd:``. ``str()`` of a value is the text
that parses to it again. Nothing is opened, resolved or looked up here.
"""

from __future__ import annotations

from os import fsencode

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable
    from dataclasses import dataclass
    from typing import Any
else:
    from fastcore.values import dataclass

__all__ = [
    "Address",
    "AddressError",
    "FdAddress",
    "SystemdAddress",
    "TcpAddress",
    "UnixAddress",
    "allowed_addresses",
    "parse_address",
]

MAX_UNIX_PATH_BYTES = 107
"""Longest path of a unix socket: Linux' ``sun_path`` has 108 bytes, the last of which is NUL (unix(7))."""

MAX_FD = 1_048_576
"""Highest descriptor number accepted: the kernel's own default for ``fs.nr_open``."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
"""Who may connect over TCP unless told otherwise: this machine."""

WEB_SERVER_ADDRESSES = "FCGI_WEB_SERVER_ADDRS"
"""The environment variable that lists who may connect over TCP (FastCGI 1.0 §3.2)."""

_FORMS = "an address is unix:/path, host:port, [ipv6]:port, fd:number or systemd:"
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
"""What a host's name and an interface's may hold. (No regular expressions: with them comes half a megabyte.)"""


class AddressError(ValueError):
    """The text is no address; the message says what is wrong with it and what to write instead."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket in the file system.

    ``path`` is absolute or relative to the working directory, at most ``MAX_UNIX_PATH_BYTES`` long.
    """

    path: str

    def __post_init__(self) -> None:
        if not self.path:
            raise AddressError(f"a unix socket needs a path, such as unix:/run/app.sock: {_FORMS}")
        if "\0" in self.path:
            raise AddressError(f"the path of a unix socket holds a NUL character: {self.path!r}")
        if self.path.startswith("@"):
            raise AddressError(
                f"{self.path!r} looks like an abstract socket, which has no owner and no mode: "
                "give it a path in the file system"
            )
        try:
            length = len(fsencode(self.path))
        except UnicodeEncodeError as error:
            raise AddressError(
                f"the path of a unix socket cannot be written in the file system's encoding: {self.path!r}"
            ) from error
        if length > MAX_UNIX_PATH_BYTES:
            raise AddressError(
                f"the path of a unix socket may have {MAX_UNIX_PATH_BYTES} bytes, this one has {length}: {self.path!r}"
            )

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (name, IPv4 or IPv6 address without brackets) and a TCP port, 0 to 65535 (0: any free one, to listen)."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not self.host:
            raise AddressError(
                f":{self.port} names no host: write 127.0.0.1:{self.port} for this machine, "
                f"or 0.0.0.0:{self.port} for every interface"
            )
        if ":" in self.host:
            if not _is_ipv6(self.host):
                raise AddressError(f"[{self.host}] is not an IPv6 address")
        elif not (len(self.host) <= 253 and self.host[0] != "-" and _NAME.issuperset(self.host)):
            raise AddressError(f"{self.host!r} is neither a host name nor an IP address")
        if not 0 <= self.port <= 65535:
            raise AddressError(f"port {self.port} is outside 0 to 65535")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class FdAddress:
    """A socket that this process was started with, by its descriptor number (0 where a web server spawned us)."""

    fd: int

    def __post_init__(self) -> None:
        if not 0 <= self.fd <= MAX_FD:
            raise AddressError(f"descriptor {self.fd} is outside 0 to {MAX_FD}")

    def __str__(self) -> str:
        return f"fd:{self.fd}"


@dataclass(frozen=True, slots=True)
class SystemdAddress:
    """A socket passed by systemd's socket activation, or another program that does as it does (sd_listen_fds(3)).

    ``name`` is the unit's ``FileDescriptorName=``; empty where one socket alone is passed.
    """

    name: str = ""

    def __post_init__(self) -> None:
        graphic = all("!" <= character <= "~" and character != ":" for character in self.name)
        if not graphic or len(self.name) > 255:  # systemd.socket(5), FileDescriptorName=
            raise AddressError(f"systemd:{self.name}: a socket's name is up to 255 characters of ASCII without colons")

    def __str__(self) -> str:
        return f"systemd:{self.name}"


Address = UnixAddress | TcpAddress | FdAddress | SystemdAddress


def parse_address(text: str) -> Address:
    """Read an address.

    Raises `AddressError` (a `ValueError`) with what to write instead.

    >>> parse_address("unix:/run/app.sock")
    UnixAddress(path='/run/app.sock')
    >>> parse_address("[::1]:9000")
    TcpAddress(host='::1', port=9000)
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "unix":
        return UnixAddress(rest)
    if colon and kind == "fd":
        return FdAddress(_number(rest, text, "a descriptor number, such as fd:0"))
    if colon and kind == "systemd":
        return SystemdAddress(rest)
    if text.startswith(("/", "./", "../")):
        raise AddressError(f"{text!r} looks like a path: write unix:{text}")
    if "://" in text:
        raise AddressError(f"{text!r} looks like a URL: {_FORMS}")
    if text.startswith("["):
        return _parse_bracketed(text)
    host, colon, port = text.rpartition(":")
    if not colon:
        hint = f"write 127.0.0.1:{text}" if _is_number(text) else _FORMS
        raise AddressError(f"{text!r} is no address: {hint}")
    if ":" in host:
        hint = f"write [{host}]:{port}, or [{text}]:PORT" if _is_ipv6(text) or _is_ipv6(host) else _FORMS
        raise AddressError(f"{text!r} has more than one colon: {hint}")
    return TcpAddress(host, _number(port, text, "a port number, such as 127.0.0.1:9000"))


def allowed_addresses(texts: Iterable[Any], source: str) -> frozenset[str]:
    """Numeric addresses as the system writes those of peers. Raises AddressError, naming `source`, for what is none."""
    from ipaddress import IPv4Address, ip_address

    found: set[str] = set()
    for text in texts:
        try:
            address = ip_address(text.strip() if isinstance(text, str) else "")
        except ValueError:
            raise AddressError(
                f"{source}: {text!r} is no IP address; write addresses such as 127.0.0.1, separated by commas"
            ) from None
        mapped = address if isinstance(address, IPv4Address) else address.ipv4_mapped
        found |= {str(address)} if mapped is None else {str(mapped), f"::ffff:{mapped}"}
    return frozenset(found)


def _parse_bracketed(text: str) -> TcpAddress:
    host, bracket, rest = text[1:].partition("]")
    if not bracket or not rest.startswith(":"):
        raise AddressError(f"{text!r} lacks its port: an IPv6 address is written [::1]:9000")
    if ":" not in host:
        raise AddressError(f"{text!r}: brackets are for IPv6 addresses; write {host or '127.0.0.1'}{rest}")
    return TcpAddress(host, _number(rest[1:], text, "a port number, such as [::1]:9000"))


def _number(digits: str, text: str, wanted: str) -> int:
    if not _is_number(digits):
        raise AddressError(f"{text!r}: {digits!r} is not {wanted}")
    return int(digits)


def _is_number(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= 9


def _is_ipv6(host: str) -> bool:
    from _socket import AF_INET6, inet_pton

    address, percent, zone = host.partition("%")
    if percent and not (0 < len(zone) <= 15 and _NAME.issuperset(zone)):
        return False
    try:
        inet_pton(AF_INET6, address)
    except (OSError, UnicodeEncodeError, ValueError):
        return False
    return True
