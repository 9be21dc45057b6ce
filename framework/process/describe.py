"""The URL tables of a site's back ends without running the site: for `sitectl urls` and `check`.

Each application is imported by a fresh interpreter that runs as its back end's user, as it would in the running
site, bounded in time and output. Nothing of an application is imported here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastcore.values import replace
from framework.process.launcher import FIRST_LISTEN_FD, LaunchError, Started, sealed_file, start
from framework.process.logs import printable
from framework.process.parts import Part, PartsError, backend_part
from framework.process.poller import collect
from framework.process.privileges import PrivilegeError
from framework.process.runfiles import kill_session
from framework.process.sandbox import SandboxError
from framework.process.spec import MAX_TABLE_BYTES, spec_of
from framework.process.view import ViewError

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["IMPORT_TIMEOUT", "proxy_types", "url_tables"]

IMPORT_TIMEOUT = 30.0
"""Seconds that an application may take to be imported."""

MAX_ERROR_CHARACTERS = 2000

Table = list[dict[str, Any]]


def url_tables(site: Site, names: Iterable[str] | None = None) -> dict[str, Table | str]:
    """For each back end its routes, [{"pattern", "handler", "name"}], or the text of what keeps it from telling them.

    names   only these back ends; None: all
    As root each import runs as the back end's user, who must exist; otherwise all run as the caller. A WSGI application
    that is no framework App has an empty table. Whatever an application says is made printable.

    >>> url_tables(site)["status"][0]["pattern"]
    '^/$'
    """
    return {name: _table_of(site, name) for name in (site.backends if names is None else names)}


def proxy_types(site: Site) -> dict[str, Table | str]:
    """For each back end its remote functions' TypeScript declarations, or the text of what keeps it from telling them.

    The rows are those of `url_tables` whose handler is a `framework.rpc.Proxy`; "handler" is its proxy.d.ts.
    """
    return {name: _table_of(site, name, "--types") for name in site.backends}


def _table_of(site: Site, name: str, *words: str) -> Table | str:
    try:
        part = backend_part(site, site.backends[name], describe=True)
        return _parse(*_import(site, replace(part, argv=(*part.argv, *words))))
    except (LaunchError, PartsError, PrivilegeError, SandboxError, ViewError) as error:
        return str(error)


def _import(site: Site, part: Part) -> tuple[bytes, str]:
    """What the interpreter wrote into its pipe, and its last line of output."""
    reader, writer = os.pipe()
    privileges = part.privileges.to_spec()
    spec = spec_of(site, part.name, urls_fd=FIRST_LISTEN_FD, privileges=privileges)
    number = sealed_file("spec", json.dumps(spec).encode())
    described = replace(part, argv=(*part.argv, "--describe"))
    try:
        started = start(described.launch({0: number, FIRST_LISTEN_FD: writer}, (), {}))
    except LaunchError:
        os.close(reader)
        raise
    finally:
        os.close(number)
        os.close(writer)
    try:
        return _collect(started, reader)
    finally:
        kill_session(started.pid)
        os.waitpid(started.pid, 0)
        for number in (reader, started.output, started.errors):
            os.close(number)


def _collect(started: Started, reader: int) -> tuple[bytes, str]:
    try:
        ends = (reader, started.output, started.errors)
        received = collect(ends, IMPORT_TIMEOUT, MAX_TABLE_BYTES + 1, until=reader)
    except TimeoutError:
        return b"", f"its import took longer than {IMPORT_TIMEOUT:g} s"
    said = received[started.errors].decode("utf-8", "replace").strip()
    return received[reader], said.splitlines()[-1] if said else ""


def _parse(data: bytes, said: str) -> Table | str:
    if len(data) > MAX_TABLE_BYTES:
        return f"its URL table is larger than {MAX_TABLE_BYTES} bytes"
    if not data:
        return printable(said or "it ended without a word")[:MAX_ERROR_CHARACTERS]
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return "its URL table is not JSON"
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return printable(value["error"])[:MAX_ERROR_CHARACTERS]
    if isinstance(value, list) and all(_is_row(row) for row in value):
        return [{key: text and _printable(text) for key, text in row.items()} for row in value]
    return "its URL table has not the form [{pattern, handler, name}]"


def _printable(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or set(row) != {"pattern", "handler", "name"}:
        return False
    return isinstance(row["pattern"], str) and isinstance(row["handler"], str) and isinstance(row["name"], str | None)
