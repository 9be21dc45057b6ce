"""rpc.discover: the functions of a Proxy as an OpenRPC document."""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import app_caller
import msgspec
import openrpc_schema
import pytest

from framework import App, Request
from framework.rpc import Proxy, remote


class State(enum.Enum):
    UP = "up"
    DOWN = "down"


@dataclass
class Disk:
    name: str
    size: int
    parts: list[Disk]
    state: State = State.UP


@dataclass
class Raid:
    level: int


class Filter(TypedDict, total=False):
    name: str


class Odd:
    pass


@remote(safe=True)
def disks(kind: Filter | None = None, *, least: Annotated[int, msgspec.Meta(ge=0)]) -> list[Disk]:
    """All disks.

    In the order of their names.
    """
    return []


def mount(where: Path, disk: Disk, at: dt.datetime | None = None, /) -> None: ...


def either(one: Disk | Raid, other: Odd, more: tuple[int, str], unknown, /, *rest: int) -> set[dt.date]: ...  # type: ignore[no-untyped-def]


async def follow(unit: str = "sshd", since: dt.date = dt.date(2026, 2, 28)) -> AsyncIterator[Disk]:
    """The lines of a unit."""
    yield Disk("", 0, [])


def plain(request: Request, count: int = 3, mask: bytes = b"") -> dict[str, float]: ...


FUNCTIONS: dict[str, Any] = {"disks": disks, "fs": {"mount": mount}, "either": either, "follow": follow, "plain": plain}
PROXY = Proxy(FUNCTIONS)


def ask(proxy: Proxy, method: str = "rpc.discover", **options: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "method": method, "id": 1}).encode()
    app = App([("/rpc$", proxy)])
    options = {"script": "/status", "content_type": "application/json", "body": body, **options}
    return app_caller.call(app, "/rpc", "POST", **options).json


def test_the_document_is_one_by_the_meta_schema() -> None:
    assert openrpc_schema.errors(ask(PROXY)["result"]) == []
    assert openrpc_schema.errors({"openrpc": "1.3.2", "info": {"title": "t"}, "methods": [{"name": "a"}]})


def test_functions_are_described_as_callers_see_them() -> None:
    document = ask(PROXY)["result"]
    assert document["openrpc"] == "1.3.2"
    assert document["info"]["version"] == PROXY.version
    assert document["servers"][0]["url"] == "http://console.localhost/status/rpc"
    methods = {method["name"]: method for method in document["methods"]}
    assert list(methods) == ["disks", "fs.mount", "either", "follow", "plain"]
    found = methods["disks"]
    assert (found["summary"], found["x-safe"]) == ("All disks.", {"retry": True})
    assert found["description"].endswith("order of their names.")
    assert found["paramStructure"] == "by-name"
    assert [(one["name"], one["required"]) for one in found["params"]] == [("least", True), ("kind", False)]
    assert found["params"][0]["schema"] == {"type": "integer", "minimum": 0}
    assert found["result"]["schema"] == {"type": "array", "items": {"$ref": "#/components/schemas/Disk"}}
    assert document["components"]["schemas"]["Disk"]["required"] == ["name", "size", "parts"]
    assert document["components"]["schemas"]["State"]["enum"] == ["down", "up"]
    where, disk, at = methods["fs.mount"]["params"]
    assert methods["fs.mount"]["paramStructure"] == "by-position"
    assert where["schema"] == {"type": "string"}
    assert disk["schema"] == {"$ref": "#/components/schemas/Disk"}
    assert at["schema"]["default"] is None
    assert methods["fs.mount"]["result"]["schema"] == {"type": "null"}
    one, other, more, unknown = methods["either"]["params"]
    assert [part["$ref"].rpartition("/")[2] for part in one["schema"]["anyOf"]] == ["Disk", "Raid"]
    assert (other["schema"], unknown["schema"]) == ({}, {})
    assert more["schema"]["minItems"] == 2
    assert "x-more-params" in methods["either"]
    assert methods["follow"]["x-stream"] == {"item": {"$ref": "#/components/schemas/Disk"}}
    assert methods["follow"]["params"][1]["schema"]["default"] == "2026-02-28"
    assert methods["plain"]["paramStructure"] == "either"
    assert [one["name"] for one in methods["plain"]["params"]] == ["count", "mask"]


def test_it_is_off_by_one_option_and_asks_who_may_call() -> None:
    assert ask(Proxy(FUNCTIONS, discover=False))["error"]["code"] == -32601
    refused = ask(Proxy(FUNCTIONS, allow=lambda request, arguments: False))["error"]
    assert refused["data"]["status"] == 403
    assert ask(PROXY, "rpc.other")["error"]["code"] == -32601


def test_pages_do_not_have_it_as_a_method() -> None:
    module = app_caller.call(App([("/rpc$", PROXY)]), "/rpc").body
    assert b"rpc.discover" not in module
    assert "rpc.discover" not in PROXY.declarations()


def test_names_of_the_protocol_are_not_for_applications() -> None:
    with pytest.raises(ValueError, match=r"rpc\."):
        Proxy({"rpc.discover": plain})
