"""Remote calls with odd input, functions that fail oddly, and names that mean something to JavaScript."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import app_caller
import pytest
import rpc_node

from framework import App, HTTPError, Request
from framework.rpc import Proxy, RPCError, remote

PLAIN = "application/json"
TAGGED = "application/json; values=tagged"


@dataclass
class Disk:
    name: str
    size: int = 0
    seen: dt.datetime | None = None
    _slot: int = 1


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


def echo(value: Any) -> Any:
    return value


def same_disk(disk: Disk) -> Disk:
    return disk


def disks() -> dict[int, Disk]:
    return {1: Disk("\udcff")}


def mute() -> None:
    raise Mute


def labels(names: dict[int, str]) -> list[int]:
    return list(names)


def refuse(request: Request, arguments: dict[str, Any]) -> bool:
    if arguments["how"] == "fault":
        raise ValueError("the hook is broken")
    if arguments["how"] == "rpc":
        raise RPCError("not now", code=5)
    if arguments["how"] == "http":
        raise HTTPError(401, "Log in.")
    return arguments["how"] == "no refusal"


@remote(allow=refuse)
def guarded(how: str) -> str:
    return how


APP = App([("/rpc$", Proxy([echo, same_disk, disks, mute, labels, guarded]))])


def post(body: bytes, content_type: str | None = PLAIN) -> app_caller.Answer:
    return app_caller.call(APP, "/rpc", "POST", body=body, content_type=content_type)


def ask(method: str, *params: Any, content_type: str = PLAIN) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    return post(body, content_type).json


@pytest.mark.parametrize("content_type", [PLAIN, TAGGED])
def test_defaults_of_a_dataclass_come_back(content_type: str) -> None:
    whole = {"name": "sda", "size": 0, "seen": None, "_slot": 1}
    assert ask("same_disk", {"name": "sda"}, content_type=content_type)["result"] == whole


def test_a_dataclass_in_a_plain_answer_with_odd_text_and_keys() -> None:
    assert ask("disks")["result"] == {"1": {"name": "?", "size": 0, "seen": None, "_slot": 1}}


def test_an_exception_without_a_text_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    error = ask("mute")["error"]
    assert (error["code"], error["message"], error["data"]["type"]) == (-32000, "", "Mute")
    assert error["data"]["id"] in caplog.text


@pytest.mark.parametrize(
    ("how", "code", "message", "kind"),
    [
        ("no", 403, "You may not call guarded.", "HTTPError"),
        ("http", 401, "Log in.", "HTTPError"),
        ("rpc", 5, "not now", "RPCError"),
        ("fault", -32000, "the hook is broken", "ValueError"),
    ],
)
def test_whatever_a_hook_does_is_an_answer(how: str, code: int, message: str, kind: str) -> None:
    error = ask("guarded", how)["error"]
    assert (error["code"], error["message"], error["data"]["type"]) == (code, message, kind)
    assert ask("guarded", "no refusal")["result"] == "no refusal"


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (rb"\ud800", "?"),
        (rb"a\uDFFFb\udbff", "a?b?"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\ud83d\ud83d\ude00", "?😀"),
        (rb"\\ud800 \ud800", "\\ud800 ?"),
        (rb"\"\ud800\"", '"?"'),
    ],
)
def test_half_of_a_pair_of_surrogates_arrives_as_a_question_mark(sent: bytes, arrives: str) -> None:
    for content_type in (PLAIN, TAGGED):
        answer = post(b'{"jsonrpc":"2.0","id":1,"method":"echo","params":["' + sent + b'"]}', content_type)
        assert answer.json["result"] == arrives


@pytest.mark.parametrize("body", [rb"[\ud800]", rb'{"\ud800', rb'"\ud8', rb'"\ud800\x"'])
def test_what_is_no_json_is_none_with_surrogates_either(body: bytes) -> None:
    assert post(body).json["error"]["code"] == -32700


def test_a_parameter_of_the_media_type_may_stand_in_quotes() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"echo","params":[{"$set":[1]}]}'
    for content_type in ('application/json;values="tagged"', "Application/JSON ; charset=utf-8 ; Values=Tagged"):
        assert post(body, content_type).get("Content-Type") == TAGGED


def test_a_key_that_does_not_fit_is_told_in_words() -> None:
    message = ask("labels", {"one": "x"})["error"]["message"]
    assert message == ("Invalid params: labels(names): the argument 'names': Expected `int`, got `str` (a key)")


@pytest.mark.parametrize("name", ["hasOwnProperty", "constructor.x", "a.isPrototypeOf", "toLocaleString.b"])
def test_names_of_every_object_are_not_exported(name: str) -> None:
    with pytest.raises(ValueError, match="JavaScript gives"):
        Proxy({name: echo})


HOSTILE = b'{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"$$__proto__":1}'


@rpc_node.needs_node
def test_no_answer_reaches_a_prototype(tmp_path: Path) -> None:
    texts = [
        HOSTILE.decode(),
        '{"$$__proto__":{"polluted":1}}',
        '{"$__proto__":{"polluted":1}}',
        '{"$constructor":1}',
        '{"$error":{"type":"X","message":"m","__proto__":{"polluted":1},"id":{"__proto__":{"polluted":1}}}}',
        '{"$map":[["__proto__",{"polluted":1}]]}',
        '{"$progress":{"done":1,"total":2,"text":"","__proto__":{"polluted":1}}}',
    ]
    script = f"""
        import {{ decode, encode }} from "./served.mjs";
        const values = {json.dumps(texts)}.map(decode);
        const own = Object.hasOwn(values[0], "__proto__") && values[0].polluted === undefined;
        console.log(JSON.stringify([
          {{}}.polluted ?? null, own, values.map((value) => value.polluted ?? null), encode(values[0]),
        ]));
    """
    polluted, own, seen, back = rpc_node.run(tmp_path, app_caller.call(APP, "/rpc").body, script)
    assert (polluted, own, seen) == (None, True, [None] * len(texts))
    assert json.loads(back) == json.loads(HOSTILE)


@rpc_node.needs_node
def test_bytes_of_javascript_in_each_form(tmp_path: Path) -> None:
    script = """
        import { encode } from "./served.mjs";
        const { buffer } = new Uint8Array([1, 2, 255]);
        const forms = [buffer, new Uint8Array(buffer), Buffer.from(buffer), new Uint8Array(buffer, 1, 1)];
        console.log(encode(forms));
    """
    whole, part = {"$bytes": "AQL/"}, {"$bytes": "Ag=="}
    assert rpc_node.run(tmp_path, app_caller.call(APP, "/rpc").body, script) == [whole, whole, whole, part]


STREAM = """
    import { connect } from "./served.mjs";
    const ended = [];
    globalThis.fetch = async (url, { body, signal }) => {
      const { method } = JSON.parse(body);
      const stream = new ReadableStream({
        start(controller) {
          signal.addEventListener("abort", () => (ended.push(method), controller.error(signal.reason)));
          const item = { jsonrpc: "2.0", method: "rpc.item", params: [1] };
          controller.enqueue(new TextEncoder().encode(JSON.stringify(item) + "\\n"));
        },
      });
      return new Response(stream, { headers: { "content-type": "application/x-ndjson" } });
    };
    const functions = connect("http://console.example/rpc", OPTIONS);
"""


@rpc_node.needs_node
def test_a_stream_is_left_before_its_first_item_and_while_it_waits(tmp_path: Path) -> None:
    script = (
        STREAM.replace("OPTIONS", "{}")
        + """
    await (await functions.unread()).return();
    const waiting = await functions.waiting();
    const first = await waiting.next();
    const second = waiting.next().catch((error) => error.name);
    await waiting.return();
    for await (const item of functions.read()) break;
    console.log(JSON.stringify([first.value, await second, await waiting.next(), ended]));
    """
    )
    found = rpc_node.run(tmp_path, app_caller.call(APP, "/rpc").body, script)
    assert found == [1, "AbortError", {"done": True}, ["unread", "waiting", "read"]]


@rpc_node.needs_node
@pytest.mark.parametrize("timeout", ["Infinity", "2 ** 31", "1e12"])
def test_a_very_long_time_limit_is_none(tmp_path: Path, timeout: str) -> None:
    """setTimeout() takes what is over 31 bits for 1 ms."""
    script = (
        STREAM.replace("OPTIONS", f"{{ timeout: {timeout} }}")
        + """
    const stream = await functions.slow();
    const items = [await stream.next()];
    await new Promise((done) => setTimeout(done, 100));
    console.log(JSON.stringify([items, ended]));
    await stream.return();
    """
    )
    found = rpc_node.run(tmp_path, app_caller.call(APP, "/rpc").body, script)
    assert found == [[{"value": 1, "done": False}], []]


def test_hostile_bodies_are_refused_at_once() -> None:
    cases: list[tuple[bytes, int, Callable[[Any], bool]]] = [
        (b"[" * 200_000 + b"]" * 200_000, 400, lambda answer: answer["error"]["code"] == -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"echo","params":[' + b"9" * 5000 + b"]}", 400, lambda answer: True),
        (b'[{"jsonrpc":"2.0"' + b',"id":1' * 10_000 + b"}]", 200, lambda answer: answer[0]["error"]["code"] == -32600),
        (b"[" + b"1," * 100_000 + b"1]", 400, lambda answer: "more than 50" in answer["error"]["message"]),
    ]
    for body, status, check in cases:
        answer = post(body)
        assert answer.status == status
        assert check(answer.json)


@pytest.mark.parametrize("accept", ["*/*", "text/html", None])
@pytest.mark.parametrize(
    ("sent", "status"),
    [({"content_type": "text/plain"}, 415), ({"headers": {"Origin": "http://evil.example"}}, 403)],
)
def test_a_refused_call_is_told_in_json(sent: dict[str, Any], status: int, accept: str | None) -> None:
    headers = {**sent.get("headers", {}), **({"Accept": accept} if accept else {})}
    content_type = sent.get("content_type", PLAIN)
    answer = app_caller.call(APP, "/rpc", "POST", body=b"{}", content_type=content_type, headers=headers)
    assert (answer.status, answer.get("Content-Type")) == (status, "application/problem+json")
    assert answer.json["status"] == status
    assert answer.get("Cache-Control") == "no-store"
