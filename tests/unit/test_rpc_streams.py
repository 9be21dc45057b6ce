"""Generators become async iterators in JavaScript; leaving the loop ends them in Python, wherever they wait."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import app_caller
import pytest
import rpc_node
import wsgiref_server

from framework import App
from framework.rpc import Progress, Proxy, RPCError, streams

DEADLINE = 20.0
ended: list[str] = []


async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        await asyncio.sleep(0)
        yield number


async def silent() -> AsyncIterator[int]:
    try:
        yield 1
        await asyncio.Event().wait()
    except GeneratorExit:
        ended.append("silent")
        raise


async def patient() -> AsyncIterator[int]:
    """Waits in a block that has to be left, and needs a moment to clean up."""
    try:
        async with asyncio.timeout(600):
            yield 1
            await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0)
        ended.append("patient")


def plain(to: int) -> Iterator[Any]:
    try:
        for number in range(to):
            yield {number}
    except GeneratorExit:
        ended.append("plain")
        raise


def copy(disks: int) -> Iterator[Progress]:
    for number in range(disks):
        yield Progress(number + 1, disks, f"disk {number}")
    return f"{disks} disks"  # type: ignore[return-value]


async def breaks() -> AsyncIterator[int]:
    yield 1
    raise RPCError("enough", code=5)


def odd() -> Iterator[Any]:
    yield object()


APP = App([("/rpc$", Proxy([count, silent, patient, plain, copy, breaks, odd], heartbeat=0.02))])
STREAMS = {"Accept": "application/json, application/x-ndjson"}


def ask(method: str, *params: Any, accept: str = STREAMS["Accept"], call: Any = None) -> app_caller.Answer:
    body = json.dumps(call or {"jsonrpc": "2.0", "method": method, "params": params, "id": 7}).encode()
    headers = {"Accept": accept}
    return app_caller.call(APP, "/rpc", "POST", body=body, content_type="application/json", headers=headers)


def test_items_are_notifications_and_the_last_line_is_the_answer() -> None:
    answer = ask("count", 2)
    assert answer.get("Content-Type") == "application/x-ndjson"
    assert answer.get("Cache-Control") == "no-store"
    assert answer.get("X-Accel-Buffering") == "no"
    assert [json.loads(line) for line in answer.text.splitlines() if line] == [
        {"jsonrpc": "2.0", "method": "rpc.item", "params": [0]},
        {"jsonrpc": "2.0", "method": "rpc.item", "params": [1]},
        {"jsonrpc": "2.0", "result": None, "id": 7},
    ]
    last = json.loads(ask("copy", 1).text.splitlines()[-1])
    assert last == {"jsonrpc": "2.0", "result": "1 disks", "id": 7}


def test_a_failure_is_the_last_line(caplog: pytest.LogCaptureFixture) -> None:
    assert json.loads(ask("breaks").text.splitlines()[-1])["error"]["code"] == 5
    assert not caplog.records
    error = json.loads(ask("odd").text.splitlines()[-1])["error"]
    assert error["code"] == -32603
    assert error["data"]["id"] in caplog.text


def test_who_does_not_take_a_stream_is_told() -> None:
    assert "count gives a stream" in ask("count", 2, accept="application/json").json["error"]["message"]
    one = {"jsonrpc": "2.0", "method": "plain", "params": [2], "id": 1}
    batch = ask("", call=[one, one]).json
    assert [answer["error"]["code"] for answer in batch] == [-32600, -32600]
    assert ask("", call={"jsonrpc": "2.0", "method": "count", "params": [2]}).status == 204


@pytest.mark.parametrize("function", [silent, patient])
def test_a_generator_is_ended_where_it_waits(function: Any) -> None:
    async def leave() -> None:
        body = streams.async_lines(function(), str_line, str_line, str_line)
        assert await anext(body) == b"\n"
        assert await anext(body) == b"1"
        waiting = asyncio.create_task(anext(body))  # as the server waits for the next piece
        for _ in range(5):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await body.aclose()

    ended.clear()
    asyncio.run(leave())
    assert ended == [function.__name__]


def test_a_generator_is_ended_where_it_has_yielded() -> None:
    async def leave() -> None:
        body = streams.async_lines(silent(), str_line, str_line, str_line)
        await anext(body)
        await asyncio.sleep(0)
        await body.aclose()

    ended.clear()
    asyncio.run(leave())
    assert ended == ["silent"]


def str_line(value: Any) -> bytes:
    return str(value).encode()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with wsgiref_server.served(APP) as url:
        yield url


@rpc_node.needs_node
def test_an_async_iterator_in_javascript(tmp_path: Path, address: str) -> None:
    ended.clear()
    result = rpc_node.run(
        tmp_path,
        app_caller.call(APP, "/rpc").body,
        f"""
        import {{ connect, Progress }} from "./served.mjs";
        const log = connect("{address}/rpc");
        const all = [];
        for await (const number of log.count(3)) all.push(number);
        const sets = [];
        for await (const set of log.plain(1000000)) {{ sets.push(...set); if (set.has(4)) break; }}
        for await (const one of log.silent()) {{ all.push(one); break; }}
        const shown = [];
        const progress = ({{ done, total, text }}) => shown.push([done, total, text]);
        const copied = await connect(log, {{ progress }}).copy(2);
        const steps = [];
        for await (const step of log.copy(1)) steps.push(step instanceof Progress);
        const element = {{ removeAttribute() {{}} }};
        await connect(log, {{ progress: element }}).copy(3);
        let failed;
        try {{
          for await (const _ of log.breaks());
        }} catch ({{ name, message, code }}) {{ failed = [name, message, code]; }}
        const stop = new AbortController();
        let aborted;
        try {{
          for await (const _ of connect(log, {{ signal: stop.signal }}).silent()) setTimeout(() => stop.abort(), 50);
        }} catch (error) {{ aborted = error.name; }}
        console.log(JSON.stringify({{ all, sets, shown, copied, steps, element, failed, aborted }}));
        """,
    )
    assert result == {
        "all": [0, 1, 2, 1],
        "sets": [0, 1, 2, 3, 4],
        "shown": [[1, 2, "disk 0"], [2, 2, "disk 1"]],
        "copied": "2 disks",
        "steps": [True],
        "element": {"title": "disk 2", "max": 3, "value": 3},
        "failed": ["RPCError", "enough", 5],
        "aborted": "AbortError",
    }
    deadline = time.monotonic() + DEADLINE
    while ended.count("silent") < 2:
        assert time.monotonic() < deadline, ended
        time.sleep(0.02)
    assert sorted(ended) == ["plain", "silent", "silent"]
