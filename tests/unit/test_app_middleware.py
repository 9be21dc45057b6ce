"""Middleware around the application, around one handler, and foreign WSGI middleware."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import app_caller
import pytest

from framework import App, HTTPError, Request, RequestHandler, Response, around

Call = Callable[..., app_caller.Answer]
Next = Callable[[Request], Response]


@pytest.fixture(params=app_caller.INTERFACES)
def call(request: pytest.FixtureRequest) -> Call:
    return functools.partial(app_caller.call, interface=request.param)


def tag(name: str) -> Callable[[Request, Next], Response]:
    def middleware(request: Request, next: Next) -> Response:
        response = next(request)
        response.add_header("X-Seen", name)
        return response

    return middleware


def test_the_first_is_the_outermost(call: Call) -> None:
    app = App([("/$", lambda request: "x")], middleware=[tag("outer"), tag("inner")])
    assert call(app).all("X-Seen") == ["inner", "outer"]


def test_it_may_answer_by_itself(call: Call) -> None:
    ran: list[str] = []
    app = App([("/$", lambda request: ran.append("x"))], middleware=[lambda request, next: "closed today"])
    assert call(app).text == "closed today"
    assert not ran


def test_it_sees_error_pages_as_responses(call: Call) -> None:
    app = App([("/$", lambda request: "x")], middleware=[tag("outer")])
    answer = call(app, "/nowhere")
    assert (answer.status, answer.all("X-Seen")) == (404, ["outer"])


def test_unexpected_exceptions_pass_through_it(call: Call) -> None:
    seen: list[str] = []

    def transaction(request: Request, next: Next) -> Response:
        try:
            response = next(request)
        except Exception as error:
            seen.append(f"rolled back: {error}")
            raise
        seen.append("committed")
        return response

    def fail(request: Request) -> str:
        raise RuntimeError("no disk")

    app = App([("/$", lambda request: "x"), ("/fail$", fail)], middleware=[transaction])
    assert call(app).status == 200
    assert call(app, "/fail").status == 500
    assert seen == ["committed", "rolled back: no disk"]


def test_its_own_http_error_is_an_answer(call: Call) -> None:
    def guard(request: Request, next: Next) -> Response:
        raise HTTPError(401, headers=[("WWW-Authenticate", "Basic")])

    answer = call(App([("/$", lambda request: "x")], middleware=[guard]))
    assert (answer.status, answer.get("WWW-Authenticate")) == (401, "Basic")


def test_it_leaves_things_for_handlers(call: Call) -> None:
    def login(request: Request, next: Next) -> Response:
        request.context["user"] = "ada"
        return next(request)

    app = App([("/$", lambda request: request.context["user"])], middleware=[login])
    assert call(app).text == "ada"


def require_key(request: Request, next: Next) -> Response:
    if request.query.get("key") != "1":
        raise HTTPError(403)
    return next(request)


def test_it_may_be_around_one_handler(call: Call) -> None:
    @around(require_key, tag("inside"))
    def settings(request: Request, name: str) -> str:
        return f"{name} at {request.get_url(settings, name='b')}"

    app = App([("/open$", lambda request: "x"), (r"/(?P<name>\w+)/$", settings)], middleware=[tag("app")])
    assert call(app, "/open").all("X-Seen") == ["app"]
    assert call(app, "/a/").status == 403
    answer = call(app, "/a/", query="key=1")
    assert (answer.text, answer.all("X-Seen")) == ("a at /b/", ["inside", "app"])


def test_it_may_be_around_a_class_and_its_subclasses_have_their_own(call: Call) -> None:
    @around(tag("base"))
    class Base(RequestHandler):
        def get(self) -> str:
            return "base"

    @around(tag("own"))
    class Own(Base):
        pass

    app = App([("/base$", Base), ("/own$", Own)])
    assert call(app, "/base").all("X-Seen") == ["base"]
    assert call(app, "/own").all("X-Seen") == ["base", "own"]


def test_around_a_handler_errors_are_responses_too(call: Call) -> None:
    @around(tag("seen"))
    def gone(request: Request) -> str:
        raise HTTPError(410)

    answer = call(App([("/$", gone)]))
    assert (answer.status, answer.all("X-Seen")) == (410, ["seen"])


@pytest.mark.parametrize("middleware", [["x"], [None], [tag("a"), 7]])
def test_what_is_no_callable_is_refused(middleware: list[Any]) -> None:
    with pytest.raises(TypeError, match="middleware is a callable"):
        App([], middleware=middleware)
    with pytest.raises(TypeError, match="middleware is a callable"):
        around(*middleware)


def test_foreign_wsgi_middleware_goes_around_the_wsgi_callable() -> None:
    app = App([("/$", lambda request: f"{request.prefix} {request.path}")])

    def shifting(environ: dict[str, Any], start_response: Any) -> Any:
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/shifted", "/"

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Outer", "1")])

        return app(environ, start)

    answer = app_caller.call(shifting, "/anything", interface="wsgi")
    assert (answer.text, answer.get("X-Outer")) == ("/shifted /", "1")
