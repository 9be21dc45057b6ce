"""`sitectl call`: the remote functions of a back end from the command line, with the errors that a page gets."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from framework.cli import OK, PROBLEM, USAGE, load_site

if TYPE_CHECKING:
    from framework.rpc import Client, RemoteError
    from framework.site import Site

HELP = """\
Call a remote function of a running back end, as a page does.

Without a function all of them are listed. An argument is JSON where it reads as such (7, true, [1, 2]), else text; for
a parameter that is a text it is always taken as it stands. NAME=VALUE is an argument by name, so a text with "=" in it
is given by name, too. What the function returns goes to standard output: text as it is, other values as JSON; each
item of a generator as it comes, until Ctrl-C ends it; its progress to standard error.

A back end's socket takes root and the front end's user only; by its URL a Proxy can be called by whoever may open the
page. Exit status: 0 done; 1 the function failed, or nobody answers; 2 there is no such function, or arguments do not
fit.

examples:
  sudo sitectl call status                                 what can be called
  sudo sitectl call status disks                           of the back end "status" of ./site.toml
  sudo sitectl call site.toml status rename sda label=x    another site file; arguments in order and by name
  sudo sitectl call status:admin disks                     of the Proxy with the name "admin", where there are several
  sudo sitectl call status log.follow sshd --json          one JSON text a line
  sitectl call https://console.example/status/rpc disks
  sitectl call unix:/run/app.sock /rpc disks               any FastCGI socket, and the path of the Proxy
"""

_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "sitectl call [SITE.toml | URL | unix:SOCKET PATH] [BACKEND[:NAME]] [FUNCTION [ARGUMENT | NAME=VALUE]...]"
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="where, which function, and its arguments")
    parser.add_argument("--json", action="store_true", help="results and errors as JSON, one text a line")
    parser.add_argument(
        "--as", dest="user", metavar="USER", help="call as this logged-in user (REMOTE_USER); a socket only"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="wait so long for an answer (60)"
    )


class Mistake(Exception):
    """The command line is wrong; the message is for who wrote it."""


def run(arguments: argparse.Namespace) -> int:
    from framework.rpc import RemoteError

    try:
        clients, words = connect(arguments)
        return _run(clients, words, arguments)
    except Mistake as mistake:
        print(f"sitectl call: {mistake}\ntry: sitectl call --help", file=sys.stderr)
        return USAGE
    except RemoteError as error:
        return tell(error, arguments)


def connect(arguments: argparse.Namespace) -> tuple[dict[str, Client], list[str]]:
    """The proxies that the first words name, and the words after these. Raises Mistake."""
    words = list(arguments.words)
    first = words[0] if words else ""
    if first.startswith(("http://", "https://")):
        if arguments.user:
            raise Mistake("--as is for a socket: by a URL one is whom the front end takes one for")
        return {first: _client(arguments, first)}, words[1:]
    if first.startswith("unix:") or re.fullmatch(r"[\w.\-\[\]]+:[0-9]+", first):
        if len(words) < 2 or not words[1].startswith("/"):
            raise Mistake(f"after {first} comes the path of the Proxy, such as /rpc")
        return {words[1]: _client(arguments, first, words[1])}, words[2:]
    arguments.site = "site.toml"
    if first.endswith(".toml") or os.path.isdir(first) or "/" in first:
        arguments.site = words.pop(0)
    return _of_site(arguments, words)


def _client(arguments: argparse.Namespace, address: str, path: str = "", host: str = "") -> Client:
    from framework.rpc import Client

    params = {"REMOTE_USER": arguments.user} if arguments.user else None
    try:
        return Client(address, path, timeout=arguments.timeout, headers={"Host": host} if host else None, params=params)
    except ValueError as error:
        raise Mistake(str(error)) from None


def _of_site(arguments: argparse.Namespace, words: list[str]) -> tuple[dict[str, Client], list[str]]:
    from framework.process.layout import for_caller

    site = load_site(arguments)
    known = ", ".join(site.backends)
    if not words:
        raise Mistake(f"which back end? {site.name} has {known}")
    backend, _, name = words.pop(0).partition(":")
    if backend not in site.backends:
        raise Mistake(
            f"the site {site.name} has no back end {backend!r}; it has {known}{_nearest(backend, site.backends)}"
        )
    if not site.socket_path(backend).exists():
        site = for_caller(site)  # somebody without root may run it
    socket = site.socket_path(backend)
    _check_access(site, backend)
    found = {
        label: _client(arguments, f"unix:{socket}", path, host) for label, path, host in proxies_of(site, backend, name)
    }
    if not found:
        wanted = f"Proxy named {name!r}" if name else "Proxy"
        raise Mistake(f"the back end {backend!r} has no {wanted} at a fixed address")
    return found, words


def proxies_of(site: Site, backend: str, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Name or pattern, full path and host of each Proxy of a back end, by the table that it has written."""
    from framework.site.tree import SiteTree, read_table

    tree = SiteTree.of(site)
    mount = next((mount for host in site.hosts for mount in host.mounts if mount.backend == backend), None)
    if mount is None:
        return
    host = "localhost" if mount.host == "*" else mount.host
    for pattern, handler, own in read_table(site.urls_path(backend).read_bytes()):
        if handler.startswith("framework.rpc.Proxy(") and name in ("", own):
            try:
                url = tree.url(f"{backend}:{own or handler}", {}, host=host, scheme="http", backend=backend)
            except (LookupError, ValueError):  # a pattern with parameters
                continue
            if url.startswith("/"):
                yield own or pattern, url, host


def _check_access(site: Site, backend: str) -> None:
    """Raise OSError, with what to do about it, where this user cannot reach the socket."""
    socket = site.socket_path(backend)
    if not socket.exists():
        raise FileNotFoundError(
            2, f"there is no such socket: is the site running? (sitectl run {site.name})", str(socket)
        )
    if not os.access(socket, os.W_OK, effective_ids=True):
        raise PermissionError(
            13, f"only root and the front end's user ({site.frontend_user}) may: use sudo", str(socket)
        )


def _run(clients: Mapping[str, Client], words: Sequence[str], arguments: argparse.Namespace) -> int:
    documents = {label: describe(client) for label, client in clients.items()}
    if not words:
        for label, document in documents.items():
            show_functions(label, document, arguments)
        return OK
    function, *rest = words
    methods = {label: methods_of(document) for label, document in documents.items()}
    having = [name for name, own in methods.items() if own is not None and function in own]
    having += [name for name, own in methods.items() if own is None]  # they do not tell: one may have it
    if not having:
        names = [name for own in methods.values() for name in own or ()]
        raise Mistake(f"there is no function {function!r}{_nearest(function, names)}; there are {', '.join(names)}")
    label = having[0]
    args, named = bind(function, rest, methods[label], documents[label] or {})
    result = clients[label].call(function, *args, **named)
    if hasattr(result, "__next__"):
        return _follow(result, arguments)
    show(result, arguments)
    return OK


def describe(client: Client) -> dict[str, Any] | None:
    """The OpenRPC document of a Proxy; None where it does not tell."""
    from framework.rpc import RemoteError

    try:
        document = client.call("rpc.discover")
    except RemoteError as error:
        if error.type in ("ConnectionError", "TimeoutError", "HTTPError") and error.code != 403:
            raise
        return None
    return document if isinstance(document, dict) else None


def methods_of(document: Mapping[str, Any] | None) -> dict[str, dict[str, Any]] | None:
    """The methods of a document by name."""
    if document is None:
        return None
    return {method["name"]: method for method in document["methods"]}


def bind(
    function: str, words: Iterable[str], methods: Mapping[str, Any] | None, document: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Words as arguments in their order and by name. Raises Mistake."""
    params = methods[function]["params"] if methods is not None else []
    schemas = {param["name"]: resolve(param["schema"], document) for param in params}
    order = list(schemas)
    args: list[Any] = []
    named: dict[str, Any] = {}
    for word in words:
        match = _NAMED.fullmatch(word)
        if match is not None:
            named[match[1]] = read_value(match[2], schemas.get(match[1]))
        elif named:
            raise Mistake(f"{word!r} comes after arguments by name; those in order come first")
        else:
            args.append(read_value(word, schemas[order[len(args)]] if len(args) < len(order) else None))
    if args and named:
        if len(args) > len(order) or set(order[: len(args)]) & named.keys():
            raise Mistake(f"{function} cannot be called so: {signature(methods[function]) if methods else 'unknown'}")
        named = dict(zip(order, args, strict=False)) | named
        args = []
    return args, named


def resolve(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or what it refers to."""
    reference = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = document.get("components", {}).get("schemas", {}).get(reference, schema)
    return found


def read_value(word: str, schema: Mapping[str, Any] | None) -> Any:
    """A word as a value: text where the parameter is one, else JSON where it reads as such."""
    if schema is not None and (schema.get("type") == "string" or _is_choice(schema.get("enum"))):
        return word
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return word


def _is_choice(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)


def _nearest(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def signature(method: Mapping[str, Any]) -> str:
    """``rename(disk, label="data")``: a method as a command line's writer wants to see it."""
    shown = []
    for param in method["params"]:
        kind = param["schema"].get("type") or param["schema"].get("$ref", "").rpartition("/")[2]
        text = param["name"] + (f": {kind}" if isinstance(kind, str) and kind else "")
        if not param["required"]:
            text += f" = {json.dumps(param['schema'].get('default', '…'), ensure_ascii=False)}"
        shown.append(text)
    if "x-more-params" in method:
        shown.append("…")
    return f"{method['name']}({', '.join(shown)})"


def show_functions(label: str, document: Mapping[str, Any] | None, arguments: argparse.Namespace) -> None:
    """What can be called, with the first line of each docstring."""
    if arguments.json:
        print(json.dumps(document))
        return
    print(f"{label}:")
    if document is None:
        print("  (it does not tell its functions; call them by their names)")
        return
    for method in document["methods"]:
        summary = method.get("summary", "")
        print(printable(f"  {signature(method)}" + (f"\n      {summary}" if summary else "")))


def show(value: Any, arguments: argparse.Namespace) -> None:
    """A result on standard output: as it is, but for what would steer a terminal."""
    if value is None and not arguments.json:
        return
    is_terminal = sys.stdout.isatty()
    if isinstance(value, bytes) and not arguments.json and not is_terminal:
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
        return
    if isinstance(value, bytes) and not arguments.json:
        text = value.decode("utf-8", "backslashreplace")
    else:
        text = value if isinstance(value, str) and not arguments.json else as_json(value, indent=not arguments.json)
    print(printable(text) if is_terminal else text, flush=True)


def as_json(value: Any, indent: bool = False) -> str:
    """A value as JSON: dates and the like as text; what has no other form with its tag (docs/rpc.md)."""
    from orjson import OPT_INDENT_2, OPT_NON_STR_KEYS, dumps

    from framework.rpc.values import to_plain
    from framework.rpc.wire import pack

    options = OPT_NON_STR_KEYS | (OPT_INDENT_2 if indent and isinstance(value, dict | list) else 0)
    try:
        return dumps(value, to_plain, options).decode()
    except TypeError:
        return dumps(pack(value), option=options).decode()


def _follow(stream: Any, arguments: argparse.Namespace) -> int:
    from framework.rpc import Progress

    with stream:
        for item in stream:
            if isinstance(item, Progress) and not arguments.json:
                total = "" if item.total is None else f" of {item.total:g}"
                print(printable(f"{item.done:g}{total} {item.text}".rstrip()), file=sys.stderr)
            else:
                show(item, arguments)
                sys.stdout.flush()
        if stream.result is not None:
            show(stream.result, arguments)
    return OK


def tell(error: RemoteError, arguments: argparse.Namespace) -> int:
    """An error as a page gets it; the exit status."""
    if arguments.json:
        about = {"type": error.type, "message": str(error), "code": error.code, "id": error.id, "data": error.data}
        print(as_json({"error": about}))
    else:
        more = [f"code {error.code}"] if error.code not in (0, -32000) else []
        more += [f"id {error.id} in the log"] if error.id else []
        end = f" ({', '.join(more)})" if more else ""
        print(printable(f"sitectl call: {error.type}: {error}{end}"), file=sys.stderr)
        if error.traceback:
            print(printable(error.traceback), file=sys.stderr)
    return USAGE if error.type in ("InvalidParams", "MethodNotFound") else PROBLEM


def printable(text: str) -> str:
    """Harmless for a terminal: lines and tabs stay, other control characters are written out."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
