"""Where there is a session, calls carry its token: the module of a page has it, other sites' pages do not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import app_caller
import pytest
import rpc_node
import wsgiref_server

from framework import App, Request
from framework.rpc import Proxy

SECRETS = {"alice": "alice's-secret-0123456789", "odd": 'quote"</script>\\0123456789'}
calls: list[str] = []


def token(request: Request) -> str | None:
    session = request.cookies.get("session")
    return SECRETS.get(session) if session else None


def work() -> str:
    calls.append("work")
    return "done"


PROXY = Proxy([work], token=token)
APP = App([("/rpc$", PROXY)])
BODY = json.dumps({"jsonrpc": "2.0", "method": "work", "id": 1}).encode()


@pytest.fixture(params=app_caller.INTERFACES)
def interface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def post(interface: str, app: App = APP, **headers: str) -> app_caller.Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return app_caller.call(
        app, "/rpc", "POST", interface=interface, content_type="application/json", body=BODY, headers=named
    )


def test_a_session_calls_with_its_token_only(interface: str) -> None:
    calls.clear()
    cookie = "session=alice"
    assert post(interface, Cookie=cookie, RPC_Token=SECRETS["alice"]).json["result"] == "done"
    for wrong in ("", "x", SECRETS["odd"], SECRETS["alice"] + "x", SECRETS["alice"][:-1], "é" * 20):
        answer = post(interface, Cookie=cookie, RPC_Token=wrong)
        assert answer.status == 403
        assert "reload" in answer.text
    assert post(interface, Cookie=cookie).status == 403
    assert calls == ["work"]
    assert post(interface).json["result"] == "done"  # without a session there is nothing to borrow


def test_the_module_carries_the_token_and_is_kept_by_nobody(interface: str) -> None:
    def get(**headers: str) -> app_caller.Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return app_caller.call(APP, "/rpc", interface=interface, headers=named, query=f"{PROXY.version}.mjs")

    own = get(Cookie="session=alice")
    assert SECRETS["alice"] in own.text
    assert (own.get("Cache-Control"), own.get("ETag")) == ("private, no-store", None)
    assert own.get("Cross-Origin-Resource-Policy") == "same-origin"
    other = get()
    assert SECRETS["alice"] not in other.text
    assert other.get("Cache-Control") == "private, no-store"
    for site in ("cross-site", "same-site"):
        assert get(Cookie="session=alice", Sec_Fetch_Site=site).status == 403
    assert get(Cookie="session=alice", Sec_Fetch_Site="same-origin").status == 200


def test_declarations_have_no_token() -> None:
    answer = app_caller.call(APP, "/rpc", query="proxy.d.ts", headers={"Cookie": "session=alice"})
    assert SECRETS["alice"] not in answer.text


@pytest.mark.parametrize("secret", ["", "x" * 15, "x" * 1001, "é" * 20, "a\nb" * 10, 7])
def test_what_is_no_token_is_an_error_of_the_server(secret: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = App([("/rpc$", Proxy([work], token=lambda request: secret))])
    assert post("native", app, RPC_Token="x").status == 500
    assert app_caller.call(app, "/rpc").status == 500
    assert "16 to 1000" in caplog.text


@pytest.fixture
def address() -> Iterator[str]:
    with wsgiref_server.served(APP) as url:
        yield url


@rpc_node.needs_node
@pytest.mark.parametrize("session", SECRETS)
def test_a_page_calls_with_the_token_of_its_module(tmp_path: Path, address: str, session: str) -> None:
    served = app_caller.call(APP, "/rpc", headers={"Cookie": f"session={session}"}).body
    served = re.sub(rb"url: new URL\(import\.meta\.url[^}]*?href", f'url: "{address}/rpc"'.encode(), served)
    script = f"""
        import own, {{ connect }} from "./served.mjs";
        const fetched = globalThis.fetch;  // as a browser does for its own origin
        globalThis.fetch = (url, init) =>
          fetched(url, {{ ...init, headers: {{ ...init.headers, Cookie: "session={session}" }} }});
        const refused = await connect("{address}/rpc").work().catch((error) => [error.type, error.code]);
        const given = await connect("{address}/rpc", {{ token: {json.dumps(SECRETS[session])} }}).work();
        console.log(JSON.stringify([await own.work(), await connect(own, {{ batch: true }}).work(), refused, given]));
    """
    assert rpc_node.run(tmp_path, served, script) == ["done", "done", ["HTTPError", 403], "done"]
