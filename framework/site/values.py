"""One check a kind of value: text in, the checked value out, or `Refused` with the reason and what to write instead.

The character sets are narrow on purpose: these texts end up in file names, account names, configuration files of web
servers and URLs, and none of them can carry a quote, a space or a control character there. No files and no system here.
"""

from __future__ import annotations

import ipaddress
import keyword
import re
from pathlib import Path
from typing import Final

from framework.site.schema import Listen

MAX_NAME: Final = 32
"""Characters of a site's, back end's, user's or group's name; Linux limits the last two to this."""
MAX_WORKERS: Final = 64
MAX_SOCKET_PATH: Final = 107
"""Bytes of a unix socket's path: sun_path of unix(7) without its final NUL."""
MAX_REQUESTS: Final = 10**9
MAX_LOG_RATE: Final = 100_000
"""Lines a second."""
MAX_REQUEST_SIZE: Final = 1 << 40
MAX_DURATION: Final = 24 * 3600 * 1000
"""Milliseconds."""
LEAST_OPEN_FILES: Final = 32
PROCESSES: Final = ("static", "dynamic", "ondemand")
MAX_AGE: Final = 366 * 24 * 3600
MAX_HSTS_AGE: Final = 2 * MAX_AGE
MAX_WILDCARD: Final = 251
"""Characters after "*." of a wildcard."""
MAX_LISTENS: Final = 16
MAX_PAGE_BYTES: Final = 256 * 1024

_UNITS: Final = {"": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_TIME_UNITS: Final = {"": 1000, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
RESOURCES: Final = {
    "open_files": ("RLIMIT_NOFILE", False),
    "processes": ("RLIMIT_NPROC", False),
    "cpu": ("RLIMIT_CPU", False),
    "core": ("RLIMIT_CORE", True),
    "file_size": ("RLIMIT_FSIZE", True),
    "address_space": ("RLIMIT_AS", True),
    "stack": ("RLIMIT_STACK", True),
    "locked_memory": ("RLIMIT_MEMLOCK", True),
}
"""The name of a limit in a site file → that of setrlimit(2), and whether it is a size."""
_RESERVED_VARIABLES: Final = ("LISTEN_", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "LD_", "PYTHON")
_ANSWERS_OWN_HEADERS: Final = frozenset(
    ("content-length", "content-type", "transfer-encoding", "connection", "status", "location", "date", "cache-control")
)


class Refused(ValueError):
    """A value that cannot stand: `reason`, and `hint` with what to write instead."""

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason = reason
        self.hint = hint
        super().__init__(f"{reason}; {hint}" if hint else reason)


def shown(value: object) -> str:
    """A value of a site file as messages show it, never long: `true`, `'text'`, `5`, `a table`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number that long"
    text = repr(value) if isinstance(value, (str, int, float)) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_name(text: str) -> str:
    """A name of the site or of a back end: it becomes a file name, a URL prefix and part of an account's name."""
    if not text:
        raise Refused("a name cannot be empty")
    if len(text) > MAX_NAME:
        raise Refused(f"longer than {MAX_NAME} characters")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", text):
        better = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_0123456789")
        raise Refused(
            f"{text!r} is not a name: a lower-case letter, then letters, digits, - and _",
            f'write "{better}"' if better else "",
        )
    return text


def check_account(text: str) -> str:
    """A user's or group's name as useradd(8) takes it."""
    if not text:
        raise Refused("an account's name cannot be empty")
    if text.isdigit():
        raise Refused(f"{text!r} is a number", "write the account's name: names are looked up when the site starts")
    if len(text) > MAX_NAME:
        raise Refused(f"{text!r} is longer than {MAX_NAME} characters")
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*", text):
        raise Refused(f"{text!r} is not an account's name", "lower-case letters, digits, - and _, a letter or _ first")
    return text


def check_application(text: str) -> str:
    """A "module:object" to import, such as "appliance.status:app"."""
    module, colon, name = text.partition(":")
    if module.endswith(".py") or "/" in module:
        guess = module.removesuffix(".py").strip("/").replace("/", ".")
        raise Refused(f"{text!r} is a file, not a module", f'write "{guess}:{name or "app"}"')
    if not colon:
        hint = f'write "{text or "module"}:app"'
        raise Refused(f"{text!r} has no colon between the module and the object in it", hint)
    parts = [*module.split("."), name]
    bad = next((part for part in parts if not part.isidentifier() or keyword.iskeyword(part)), None)
    if bad is not None:
        raise Refused(f"{text!r}: {bad!r} is not a Python name", 'write "package.module:object"')
    return text


def check_listen(text: str) -> Listen:
    """Where to accept HTTP: "127.0.0.1:8080", "[::1]:8080", "localhost:8080", or "*:80" for every IPv4 address."""
    if text.isdigit():
        hint = f'write "127.0.0.1:{text}" for this machine alone, or "*:{text}" for every address'
        raise Refused(f"{text!r} has no address", hint)
    address, colon, port_text = text.rpartition(":")
    if not colon or address.endswith(":") or (":" in address and not address.startswith("[")):
        hint = f'write "[{text}]:8080"' if text.count(":") > 1 else f'write "{text.rstrip(":") or "127.0.0.1"}:8080"'
        raise Refused(f"{text!r} has no port", hint)
    return Listen(_check_address(address), _check_port(port_text))


def check_fastcgi(text: str) -> Path | Listen:
    """Where a FastCGI application of somebody else listens: "unix:/run/php/php-fpm.sock" or "127.0.0.1:9000"."""
    if not text.startswith(("unix:", "/")):
        listen = check_listen(text)
        if listen.address in ("0.0.0.0", "::"):
            raise Refused(
                f"{text!r} is every address of this machine, and a back end has one", 'such as "127.0.0.1:9000"'
            )
        return listen
    name = text.removeprefix("unix:")
    if not re.fullmatch(r"/[A-Za-z0-9._/+-]+", name) or "//" in name or ".." in name.split("/"):
        raise Refused(f"{text!r} is not the path of a socket", 'such as "unix:/run/php/php-fpm.sock"')
    if len(name) > MAX_SOCKET_PATH:
        raise Refused(f"{text!r} is longer than the {MAX_SOCKET_PATH} bytes of a socket's path")
    return Path(name)


def check_suffix(text: str) -> str:
    """The end of a script's name, such as ".php"."""
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,16}", text):
        raise Refused(f"{shown(text)} is not the end of a file's name", 'such as ".php"')
    return text


def check_index(text: str) -> str:
    """The name of a script: one that is not hidden."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", text):
        raise Refused(f"{shown(text)} is not the name of a script", 'such as "index.php"')
    return text


def _check_address(text: str) -> str:
    known = {"localhost": "127.0.0.1", "*": "0.0.0.0", "": ""}
    plain = known.get(text, text)
    if not plain:
        raise Refused("the address is missing", 'write "127.0.0.1" for this machine alone, or "*" for every address')
    if plain.startswith("[") and plain.endswith("]"):
        plain = plain[1:-1]
    try:
        if "%" in plain:
            raise ValueError("scoped addresses are refused")
        return str(ipaddress.ip_address(plain))
    except ValueError:
        raise Refused(
            f"{text!r} is not a numeric address", 'an address of this machine, "localhost", or "*" for every one'
        ) from None


def _check_port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise Refused(f"{text!r} is not a port", "a number from 1 to 65535")
    return int(text)


def check_host(text: str) -> str:
    """The name of a virtual host: a DNS name or a numeric address, lower case, without a port."""
    name = text.lower().removesuffix(".")
    if not name:
        raise Refused("a host's name cannot be empty")
    if "*" in name:
        raise Refused(f"{text!r} has a wildcard, and a host's name is exact", 'aliases may have them: "*.example.org"')
    if "://" in name or "/" in name:
        raise Refused(f"{text!r} is a URL, not a host's name", f'write "{name.split("://")[-1].split("/")[0]}"')
    address = _host_address(name)
    if address is not None:
        return address
    if ":" in name:
        raise Refused(f"{text!r} has a port", f'write "{name.rpartition(":")[0]}": the port stands in [site] listen')
    return _check_dns_name(text, name)


def check_alias(text: str) -> str:
    """One more name of a host: as `check_host` has it, or "*." before a DNS name."""
    below = text.removeprefix("*.")
    if below == text:
        return check_host(text)
    name = check_host(below)
    if _host_address(name) is not None:
        raise Refused(f"{text!r}: there are no names below an address")
    if len(name) > MAX_WILDCARD:
        raise Refused(f"{text[:40]!r}... is longer than a DNS name with a label before it can be")
    return f"*.{name}"


def _host_address(name: str) -> str | None:
    bare = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if "%" in bare:
        raise Refused(f"{name!r} has a zone", "a host's address stands without its zone")
    return f"[{address}]" if address.version == 6 else str(address)


def _check_dns_name(text: str, name: str) -> str:
    if not name.isascii():
        try:
            hint = f'write "{name.encode("idna").decode()}"'
        except UnicodeError:
            hint = ""
        raise Refused(f"{text!r} has letters beyond ASCII", hint)
    if len(name) > 253:
        raise Refused(f"{text[:40]!r}... is longer than the 253 characters of a DNS name")
    for label in name.split("."):
        if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", label):
            shown = f"the label {label!r} of {text!r}" if label else f"{text!r} has an empty label and so"
            raise Refused(f"{shown} is not a host's name", "letters, digits and -, no - at either end, 63 at most")
    if name.rpartition(".")[2].isdigit():
        raise Refused(f"{text!r} is neither a name nor a numeric address", 'such as "192.168.1.1"')
    return name


def check_prefix(text: str) -> str:
    """A URL prefix: "/status" as it is, "/" as "" (the root of the host)."""
    if not text.startswith("/"):
        raise Refused(f"the prefix {text!r} does not begin with /", f'write "/{text.rstrip("/")}"')
    if text == "/":
        return ""
    if "//" in text:
        raise Refused(f"the prefix {text!r} has an empty segment", f'write "{re.sub("/+", "/", text)}"')
    if text.endswith("/"):
        raise Refused(f"the prefix {text!r} ends with /", f'write "{text.rstrip("/")}"')
    for segment in text[1:].split("/"):
        if segment in (".", ".."):
            raise Refused(f"the prefix {text!r} has a segment {segment!r}")
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", segment):
            raise Refused(f"the prefix {text!r} has a segment {segment!r}", "letters, digits, and . _ ~ -")
    return text


def check_home(text: str) -> str:
    """The path that "/" is redirected to: absolute within the host."""
    segments = text.split("/")[1:]
    safe = re.fullmatch(r"/[A-Za-z0-9._~-][A-Za-z0-9._~/-]*", text) is not None
    if not safe or "" in segments[:-1] or {".", ".."} & set(segments):
        raise Refused(f"{text!r} is not a path of this host", 'such as "/status/"')
    return text


def check_health(text: str) -> str:
    """The path that a back end asks of itself: below its own prefix."""
    if not text.startswith("/") or not text.isascii() or not text.isprintable() or any(sign in text for sign in " ?#%"):
        raise Refused(f"{shown(text)} is not a plain path", 'write "/health": a path below the back end\'s own prefix')
    return text


def check_directory_name(text: str) -> Path:
    """An absolute directory that the site makes for itself: plain characters, safe in every configuration."""
    if not text.startswith("/"):
        raise Refused(f"{text!r} is not an absolute path", f'write "/{text}"' if text else "")
    if "//" in text:
        raise Refused(f"{text!r} has an empty segment", f'write "{re.sub("/+", "/", text)}"')
    path = Path(text)
    if ".." in path.parts:
        raise Refused(f"{text!r} goes through ..")
    if len(path.parts) < 3:
        raise Refused(f"{text!r} belongs to the system", "a folder of the site's own, such as /run/appliance")
    if not re.fullmatch(r"[A-Za-z0-9._/+-]+", text):
        raise Refused(f"{text!r} has characters beyond letters, digits and . _ + - /")
    return path


def check_log(text: str) -> str:
    """Where the log goes: "output", "journal" or a file by its absolute path."""
    if text in ("output", "journal"):
        return text
    if not text.startswith("/"):
        raise Refused(
            f"{shown(text)} is no place for a log", '"output", "journal", or a path such as "/var/log/site.log"'
        )
    return str(check_directory_name(text))


def check_path_text(text: str) -> Path:
    """A path of the programmer's: anything printable."""
    if not text:
        raise Refused("a path cannot be empty", 'write "." for the folder of the site file')
    if not text.isprintable():
        raise Refused(f"{text!r} has control characters")
    return Path(text)


def check_word(text: str) -> str:
    """The name of a system call, of a set of them, or of a capability; whether there is one is asked by who uses it."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", text, re.ASCII):
        raise Refused(f"{shown(text)} is not a name", "lower-case letters, digits and _")
    return text


def check_variable(name: str, value: str) -> None:
    """One variable of a back end's environment."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise Refused(f"{name!r} is not the name of a variable", "letters, digits and _, no digit first")
    if name.startswith(_RESERVED_VARIABLES):
        hint = 'folders of modules belong in the key "path"' if name == "PYTHONPATH" else ""
        raise Refused(f"{name} belongs to the machinery that starts a back end", hint)
    if "\0" in value:
        raise Refused("a variable cannot hold a NUL character")


def check_header(name: str, value: str) -> None:
    """One response header."""
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise Refused(f"{name!r} is not a header's name", "letters, digits and -")
    if name.lower() in _ANSWERS_OWN_HEADERS:
        raise Refused(f"{name} belongs to the answer itself and cannot be set for a whole host")
    if not re.fullmatch(r"[\x20-\x7e]*", value) or value != value.strip() or value.endswith("\\"):
        raise Refused(f"the value of {name} has characters that a header cannot carry", "printable ASCII, one line")


def check_duration(value: int | str) -> int:
    """A span of time in milliseconds: a number of seconds, or text with a unit such as "500 ms" or "2 s"."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,9})\s*([a-z]*)", value.strip())
        if not match or match[2] not in _TIME_UNITS:
            raise Refused(f"{value!r} is not a time", 'a number of seconds, or text such as "500 ms", "2 s" or "5 min"')
        milliseconds = int(match[1]) * _TIME_UNITS[match[2]]
    else:
        milliseconds = value * 1000
    if not 0 <= milliseconds <= MAX_DURATION:
        raise Refused(f"{shown(value)} is out of range", "from 0 (off) to 24 h")
    return milliseconds


def check_timeout(value: int | str) -> int:
    """A span of time in whole seconds."""
    milliseconds = check_duration(value)
    if milliseconds % 1000:
        raise Refused(f"{shown(value)} is not a whole number of seconds", 'such as "30 s"')
    return milliseconds // 1000


def check_memory(value: int | str) -> int:
    """A size in bytes, or 0 for no limit."""
    return 0 if value == 0 else check_size(value)


def check_resource(name: str, value: object) -> int:
    """One limit of a process: a number, or a size where it is one."""
    if name not in RESOURCES:
        raise Refused(f"there is no limit {name!r}", f"known: {', '.join(sorted(RESOURCES))}")
    is_size = RESOURCES[name][1]
    if type(value) is int and 0 <= value <= MAX_REQUEST_SIZE:
        if value < LEAST_OPEN_FILES and name == "open_files":
            raise Refused(f"{value} open files are too few to serve", f"{LEAST_OPEN_FILES} at least")
        return value
    if is_size and type(value) is str:
        return check_size(value)
    kind = 'a number of bytes, or text such as "64 MiB"' if is_size else "a whole number"
    raise Refused(f"{name} = {shown(value)} is out of range or of another kind", kind)


def check_processes(text: str) -> str:
    """When the processes of a back end are there."""
    if text not in PROCESSES:
        raise Refused(f"{shown(text)} is not a way to run processes", f"known: {', '.join(PROCESSES)}")
    return text


def check_idle_exit(value: int | str) -> int:
    """A span of time in whole seconds, one at least."""
    seconds = check_timeout(value)
    if not seconds:
        raise Refused("0 would end it between two requests", 'such as "60 s"')
    return seconds


def check_umask(value: str) -> int:
    """The permission bits that new files lack."""
    if not isinstance(value, str) or not re.fullmatch(r"(0o?)?[0-7]{1,3}", value):
        raise Refused(f"{shown(value)} is not a umask", 'three octal digits as text, such as "027"')
    mask = int(value, 8)
    if mask & 0o700:
        raise Refused(f"{shown(value)} takes rights from the back end itself", 'begin with 0, as "027"')
    if not mask & 0o002:
        raise Refused(f"{shown(value)} would let everybody write its new files", 'such as "027" or "022"')
    return mask


def check_credential(name: str) -> str:
    """The name of a secret: that of a file."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name):
        raise Refused(f"{name!r} is not the name of a credential", "letters, digits and _ . -, no dot or - first")
    return name


def check_size(value: int | str) -> int:
    """A size in bytes: a number, or text with a unit such as "16 MiB"."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,15})\s*([A-Za-z]*)", value.strip())
        if not match or match[2] not in _UNITS:
            raise Refused(f"{value!r} is not a size", 'a number of bytes, or text such as "16 MiB"')
        value = int(match[1]) * _UNITS[match[2]]
    if not 1024 <= value <= MAX_REQUEST_SIZE:
        raise Refused(f"{shown(value)} bytes is out of range", "from 1 KiB to 1024 GiB")
    return value
