"""One remote function by each way to serve it: what a Proxy, FastAPI, Flask, jsonrpcserver and xmlrpc make of it.

Each factory imports its own framework only; those of other projects are in the peers' environment. Each application
answers at `/NAME/`, its back end's name.
"""

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]

RESULT = {"disk": "sda", "depth": 3, "free": 12_000_000, "used": [1, 2, 3]}


def usage(disk: str, depth: int = 1) -> dict[str, Any]:
    """What is measured: two arguments that are checked, a small object as the result."""
    return {"disk": disk, "depth": depth, "free": 12_000_000, "used": [1, 2, 3]}


def fastapi_app() -> Any:
    """FastAPI with the arguments as a pydantic model and the result by its annotation."""
    fastapi, pydantic = import_module("fastapi"), import_module("pydantic")
    arguments = pydantic.create_model("Arguments", disk=(str, ...), depth=(int, 1))
    app = fastapi.FastAPI()

    def call(body: Any) -> dict[str, Any]:
        return usage(body.disk, body.depth)

    async def call_async(body: Any) -> dict[str, Any]:
        return usage(body.disk, body.depth)

    call_async.__annotations__["body"] = arguments  # `async def`: the other form hands each call to a thread
    app.post("/fastapi-uvicorn/")(call_async)
    return app


async def bare_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """A constant answer of uvicorn alone."""
    await receive()
    head = [(b"content-type", b"application/json"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b'{"result": 1}'})


def bare_native(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """A constant answer of fastcore alone."""
    return 200, [("Content-Type", "application/json"), ("Content-Length", "13")], b'{"result": 1}'


def bare_wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """A constant answer of gunicorn alone."""
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "13")])
    return [b'{"result": 1}']


def flask_app() -> Any:
    """Flask as its documentation has it: the JSON taken apart by hand, a dictionary returned."""
    flask = import_module("flask")
    app = flask.Flask(__name__)

    @app.post("/<name>/")  # type: ignore[untyped-decorator]
    def call(name: str) -> dict[str, Any]:
        body = flask.request.get_json()
        return usage(str(body["disk"]), int(body.get("depth", 1)))

    return app


def _answer(content_type: str, answer: Callable[[bytes], bytes]) -> WSGI:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = answer(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [body]

    return app


def jsonrpcserver_app() -> WSGI:
    """jsonrpcserver's dispatcher in a bare WSGI application."""
    library = import_module("jsonrpcserver")
    methods = {"usage": lambda *args, **kwargs: library.Success(usage(*args, **kwargs))}
    return _answer("application/json", lambda body: library.dispatch(body.decode(), methods=methods).encode())


def xmlrpc_app() -> WSGI:
    """The standard library's XML-RPC dispatcher in a bare WSGI application."""
    from xmlrpc.server import SimpleXMLRPCDispatcher

    dispatcher = SimpleXMLRPCDispatcher(allow_none=True, encoding="utf-8")
    dispatcher.register_function(usage)
    return _answer("text/xml", lambda body: bytes(dispatcher._marshaled_dispatch(body)))  # type: ignore[call-overload]


def serve_xmlrpc(path: str) -> None:
    """The standard library's own XML-RPC server on a unix socket; it closes each connection."""
    from socket import AF_UNIX
    from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

    class Handler(SimpleXMLRPCRequestHandler):
        rpc_paths = ()
        disable_nagle_algorithm = False  # a TCP option

    class Server(SimpleXMLRPCServer):
        address_family = AF_UNIX
        request_queue_size = 100

        def server_bind(self) -> None:
            self.socket.bind(path)

        def get_request(self) -> Any:
            return self.socket.accept()[0], ("", 0)

    server = Server(path, requestHandler=Handler, logRequests=False, allow_none=True)  # type: ignore[arg-type]
    server.register_function(usage)
    server.serve_forever()


def result_of(answer: bytes) -> Any:
    """The result within an answer, by whichever way it came."""
    if answer.startswith(b"<"):
        from xmlrpc.client import loads

        return loads(answer)[0][0]
    value = json.loads(answer)
    return value["result"] if "jsonrpc" in value else value
