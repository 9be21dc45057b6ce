"""Remote calls in Node and in Chromium through real web servers: values, streams, and who leaves one."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import rpc_node
from front_ends import FRONT_ENDS, Site

from fastcore import implementation

DEADLINE = 20.0

SCRIPT = """
async function tryAll({ connect, Tuple }, url, mark) {
  const functions = connect(url);
  const items = [];
  for await (const number of functions.ticks(3)) items.push(number);
  const sent = [new Date(0), new Set([1n << 70n]), new Map([[1, NaN]]), Tuple.of(1), new Uint8Array([1])];
  const kinds = (await functions.echo(sent)).map((value) => value.constructor.name);
  const batch = await Promise.all([1, 2].map((value) => functions.echo(value)));
  const shown = [];
  const copied = await connect(url, { progress: ({ done }) => shown.push(done) }).copy(2);
  for await (const item of functions.silent(mark)) {
    items.push(item);
    break;
  }
  const unread = await functions.silent(`${mark}-unread`);
  await unread.return();
  const waiting = await functions.silent(`${mark}-waiting`);
  await waiting.next();
  const next = waiting.next().catch((error) => error.name);
  await waiting.return();
  items.push(await next);
  return { items, kinds, batch, shown, copied };
}
"""
EXPECTED = {
    "items": [0, 1, 2, "first", "AbortError"],
    "kinds": ["Date", "Set", "Map", "Tuple", "Uint8Array"],
    "batch": [1, 2],
    "shown": [1, 2],
    "copied": "2 disks",
}


@pytest.fixture(params=["lighttpd-streaming", "nginx-kept"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    front_end = FRONT_ENDS[request.param]
    if not shutil.which(front_end.program, path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip(f"needs {front_end.program} (scripts/debian-packages.sh)")
    twin = "compiled" if implementation.accelerated else "pure"
    with Site(front_end, dict(os.environ), twin, application="rpc_application:app") as running:
        yield running


def wait_for_all(mark: Path) -> None:
    """All the streams that SCRIPT leaves, read or not, waited for or not."""
    for more in ("", "-unread", "-waiting"):
        wait_for(mark.with_name(mark.name + more))


def wait_for(mark: Path) -> None:
    """The generator says by a file that it was ended."""
    deadline = time.monotonic() + DEADLINE
    while not mark.exists():
        assert time.monotonic() < deadline, "the generator was not ended"
        time.sleep(0.02)


@rpc_node.needs_node
def test_node_calls_and_leaves_a_silent_stream(site: Site, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{site.port}"
    with urllib.request.urlopen(f"{base}/rpc", timeout=20) as answer:
        served = answer.read()
    mark = site.shared / "left"
    call = f"console.log(JSON.stringify(await tryAll(rpc, {base + '/rpc'!r}, {str(mark)!r})));"
    assert rpc_node.run(tmp_path, served, f'import * as rpc from "./served.mjs";\n{SCRIPT}\n{call}') == EXPECTED
    wait_for_all(mark)


def post(site: Site, method: str, params: list[object], accept: str = "application/json") -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", site.port, timeout=20)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    connection.request("POST", "/rpc", body, {"Content-Type": "application/json", "Accept": accept})
    return connection


def call(site: Site, method: str, *params: object) -> Any:
    with closing(post(site, method, list(params))) as connection:
        return json.loads(connection.getresponse().read())["result"]


def test_200_idle_streams_stop_no_other_call_and_end_with_their_readers(site: Site) -> None:
    with ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(closing(post(site, "idle", [number], "application/x-ndjson")))
            answer = stack.enter_context(closing(connection.getresponse()))
            while not (line := answer.readline()).strip():
                assert line, "the stream has ended"
            assert json.loads(line)["params"] == [number]
        assert call(site, "still_open") == 200
        assert [call(site, "echo", number) for number in range(100)] == list(range(100))
    deadline = time.monotonic() + DEADLINE
    while call(site, "still_open"):
        assert time.monotonic() < deadline, "generators were not ended"
        time.sleep(0.02)


@pytest.mark.parametrize("site", ["lighttpd-streaming"], indirect=True)
def test_chromium_calls_and_leaves_a_silent_stream(site: Site) -> None:
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    import demo_browser

    if not Path(demo_browser.CHROMIUM).exists():
        pytest.skip("needs chromium")
    mark, closed = site.shared / "left", site.shared / "closed"
    with demo_browser.chromium() as browser, demo_browser.page_of(browser, expected="ERR_ABORTED") as page:
        page.goto(f"http://127.0.0.1:{site.port}/")
        found = page.evaluate(
            f"async () => {{ {SCRIPT}\nreturn tryAll(await import('/rpc'), '/rpc', {json.dumps(str(mark))}); }}"
        )
        assert found == EXPECTED
        wait_for_all(mark)
        bar = page.evaluate(
            """async () => {
                const { default: own, connect } = await import("/rpc");
                const progress = document.querySelector("progress");
                await connect(own, { progress }).copy(3);
                return [progress.value, progress.max, progress.title];
            }"""
        )
        assert bar == [3, 3, "disk 2"]
        page.evaluate(f"async () => (await (await import('/rpc')).default.silent({json.dumps(str(closed))})).next()")
    wait_for(closed)  # with the page


CLIENT = """
async (refused) => {
  const { default: own, connect, RemoteError } = await import(await (await fetch("/module")).text());
  const found = { killed: [await own.processes.kill(7), await connect("/own").processes.kill(8)] };
  const late = (error) => [error instanceof RemoteError, error.type];
  found.late = await connect(own, { timeout: 100 }).wait().catch(late);
  const stop = new AbortController();
  const waiting = connect(own, { signal: stop.signal }).wait().catch((error) => error.name);
  stop.abort();
  found.aborted = await waiting;
  await refused(2);
  found.labels = await own.labels();
  await refused(2);
  found.once = await own.processes.kill(9).catch((error) => [error.type, error.code]);
  await refused(0);
  const older = await import("/own?older");
  const caught = (error) => [error.type, error.outdated, error.message.includes("reload the page")];
  found.outdated = await older.default.processes.kill("x").catch(caught);
  found.gone = await older.default.gone().catch(caught);
  return found;
}
"""


@pytest.mark.parametrize("site", ["nginx-kept"], indirect=True)
def test_chromium_times_out_tries_again_and_learns_that_it_is_old(site: Site) -> None:
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    import demo_browser

    if not Path(demo_browser.CHROMIUM).exists():
        pytest.skip("needs chromium")
    left = 0
    posted: list[str] = []

    def between(route: Any) -> None:
        """A front end that answers 502 so many times, and serves a module of other functions as /own?older."""
        nonlocal left
        if route.request.url.endswith("older"):
            answer = route.fetch()
            text = re.sub(r'"version":"[0-9a-f]+"', '"version":"0"', answer.text()).replace('["wait"', '["gone","wait"')
            return route.fulfill(response=answer, body=text)
        if route.request.method == "POST":
            posted.append(json.loads(route.request.post_data)["method"])
            if left:
                left -= 1
                return route.fulfill(status=502, body="no back end")
        return route.continue_()

    def refuse(count: int) -> None:
        nonlocal left
        left = count

    with demo_browser.chromium() as browser, demo_browser.page_of(browser, expected="/own") as page:
        page.goto(f"http://127.0.0.1:{site.port}/")
        page.expose_function("refused", refuse)
        page.route("**/own*", between)
        found = page.evaluate(f"() => ({CLIENT.strip()})(window.refused)")
    assert found == {
        "killed": ["killed 7", "killed 8"],
        "late": [True, "TimeoutError"],
        "aborted": "AbortError",
        "labels": ["data"],
        "once": ["HTTPError", 502],
        "outdated": ["InvalidParams", True, True],
        "gone": ["MethodNotFound", True, True],
    }
    assert posted.count("labels") == 3
    assert posted.count("processes.kill") == 4
