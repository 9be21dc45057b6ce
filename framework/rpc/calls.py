"""Calls and their answers as a client of remote functions has them: JSON-RPC 2.0 with tagged values, without sockets.

Always holds: whatever a server sends, what comes of it is a value or a RemoteError.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from orjson import JSONDecodeError, dumps, loads

from framework.rpc.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, Mismatch, RemoteError
from framework.rpc.limits import MAX_ANSWER_BYTES
from framework.rpc.wire import pack, unpack

HEADERS = {
    "Content-Type": "application/json; values=tagged",
    "Accept": "application/json, application/x-ndjson",
}
"""What every POST of a client says."""

STREAM = "application/x-ndjson"
BATCH = 50
"""Calls of one POST: what a Proxy takes, unless it says otherwise."""
RETRY = 2
"""How often a safe function is tried again, after 0.2 s and 0.4 s: as in client.js."""
FIRST_PAUSE = 0.2
GATEWAY_ERRORS = (502, 503, 504)
"""What a front end answers where the back end did not."""

_NAMES = {
    PARSE_ERROR: "ParseError",
    INVALID_REQUEST: "InvalidRequest",
    METHOD_NOT_FOUND: "MethodNotFound",
    INVALID_PARAMS: "InvalidParams",
}
Call = dict[str, Any]


def make_call(method: str, args: Sequence[Any], named: Mapping[str, Any], call_id: int = 1) -> Call:
    """One call. Raises TypeError for arguments of both kinds: JSON-RPC has either."""
    if args and named:
        raise TypeError(f"{method}: arguments are given in their order or by name; JSON-RPC has no calls with both")
    params: Any = dict(named) if named else list(args)
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}


def encode(calls: Sequence[Call]) -> bytes:
    """The body of a POST. Raises TypeError for an argument that cannot be sent."""
    sent = [{**call, "params": _packed(call["method"], call["params"])} for call in calls]
    return dumps(sent if len(sent) != 1 else sent[0])


def _packed(method: str, params: Any) -> Any:
    try:
        if isinstance(params, dict):
            return {name: pack(value) for name, value in params.items()}
        return [pack(value) for value in params]
    except (TypeError, RecursionError) as error:
        raise TypeError(f"an argument of {method} cannot be sent: {error}") from None


class Outcome:
    """What came of a call: `take()` gives its result or raises its RemoteError."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: Any = None, error: RemoteError | None = None) -> None:
        self._value = value
        self._error = error

    def take(self) -> Any:
        """The result. Raises RemoteError."""
        if self._error is not None:
            raise self._error
        return self._value


def read_answers(calls: Sequence[Call], status: int, body: bytes) -> list[Outcome]:
    """What came of each call. Raises RemoteError (HTTPError) where the server or its front end answered otherwise."""
    try:
        answer: Any = loads(body)
    except JSONDecodeError:
        answer = None
    answers = [one for one in (answer if isinstance(answer, list) else [answer]) if _is_answer(one)]
    by_id = {one.get("id"): one for one in answers if isinstance(one.get("id"), int | str | None)}
    refused = by_id.get(None)
    found = [by_id.get(call["id"], refused) for call in calls]
    if any(one is None for one in found):
        told = answer.get("detail") if isinstance(answer, dict) else None
        error_id = answer.get("id") if isinstance(answer, dict) else None
        raise RemoteError(
            told if isinstance(told, str) else f"the server answers with status {status}",
            type="HTTPError",
            code=status,
            id=error_id if isinstance(error_id, str) else None,
        )
    return [read_answer(call["method"], one) for call, one in zip(calls, found, strict=True) if one is not None]


class Exchange:
    """One POST, sent until there is an answer: its `body`, what comes of it, and whether it is sent once more.

    Only where all of its calls are of functions in `safe`, which do no more when they are done twice, and no answer
    came: `retry` times. Without sockets or waiting; a client does both.
    """

    __slots__ = ("_calls", "_collected", "_pauses", "body")

    def __init__(self, calls: Sequence[Call], retry: int, safe: Collection[str]) -> None:
        is_safe = all(call["method"] in safe for call in calls)
        self.body = encode(calls)
        self._calls = calls
        self._collected = bytearray()
        self._pauses = iter([FIRST_PAUSE * 2**tried for tried in range(retry)] if is_safe else [])

    def feed(self, piece: bytes) -> None:
        """A part of an answer that is no stream. Raises RemoteError over the limit."""
        self._collected += piece
        if len(self._collected) > MAX_ANSWER_BYTES:
            raise RemoteError(f"the answer is over {MAX_ANSWER_BYTES} bytes", type="InvalidAnswer")

    def outcomes(self, status: int) -> list[Outcome]:
        """What came of each call. Raises RemoteError (HTTPError) where the answer is none of a Proxy's."""
        return read_answers(self._calls, status, bytes(self._collected))

    def pause_after(self, error: RemoteError) -> float:
        """The seconds after which it is sent once more. Raises `error` where it is not."""
        self._collected.clear()
        is_lost = error.type == "ConnectionError" or (error.type == "HTTPError" and error.code in GATEWAY_ERRORS)
        pause: float | None = next(self._pauses, None) if is_lost else None
        if pause is None:
            raise error
        return pause


def _is_answer(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and one.get("jsonrpc") == "2.0"
        and ("result" in one or isinstance(one.get("error"), dict))
    )


def read_answer(method: str, answer: Mapping[str, Any]) -> Outcome:
    """What one answer says."""
    try:
        if "result" in answer:
            return Outcome(unpack(answer["result"]))
        return Outcome(error=_read_error(method, answer["error"]))
    except Mismatch as mismatch:
        return Outcome(error=RemoteError(f"the answer of {method} cannot be read: {mismatch}", type="InvalidAnswer"))


def _read_error(method: str, error: Mapping[str, Any]) -> RemoteError:
    code, message = error.get("code"), error.get("message")
    data = error.get("data")
    about: Mapping[str, Any] = data if isinstance(data, dict) else {}
    code = code if type(code) is int else 0
    words = message if isinstance(message, str) else ""
    if code == METHOD_NOT_FOUND:
        words = f"the server has no function {method}"
    error_id, traceback = about.get("id"), about.get("traceback")
    kind = about.get("type") or _NAMES.get(code)
    return RemoteError(
        words,
        type=kind if isinstance(kind, str) else "RemoteError",
        code=code,
        id=error_id if isinstance(error_id, str) else None,
        data=unpack(about.get("data")),
        traceback=traceback if isinstance(traceback, str) else "",
    )


class Lines:
    """A stream's bytes as its items: `feed` them, then iterate; `outcome` is there when the last line has come."""

    __slots__ = ("_method", "_rest", "outcome")

    def __init__(self, method: str) -> None:
        self._method = method
        self._rest = b""
        self.outcome: Outcome | None = None

    def feed(self, data: bytes) -> Iterator[Any]:
        """The items that are complete now. Raises RemoteError for what is no stream."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_ANSWER_BYTES:
            raise RemoteError(f"an item of {self._method} is over {MAX_ANSWER_BYTES} bytes", type="InvalidAnswer")
        for line in lines:
            if line.strip() and self.outcome is None:
                yield from self._read(line)

    def _read(self, line: bytes) -> Iterator[Any]:
        try:
            message = loads(line)
            if _is_answer(message):
                self.outcome = read_answer(self._method, message)
            else:
                yield unpack(message["params"][0])
        except (ValueError, LookupError, TypeError) as error:  # JSONDecodeError and Mismatch are ValueErrors
            raise RemoteError(f"the stream of {self._method} cannot be read: {error}", type="InvalidAnswer") from None


def broken_off(method: str) -> RemoteError:
    """A stream that ended without its last line."""
    return RemoteError(f"the server ended the stream of {method} early", type="ConnectionError")


class Functions:
    """What has remote functions as attributes: ``thing.disks.list(7)`` is ``thing.call("disks.list", 7)``."""

    def call(self, method: str, /, *args: Any, **named: Any) -> Any:
        """Call a function by its name."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
            raise AttributeError(name)
        return Function(self, name)


class Function:
    """A remote function of `caller` by its dotted name: call it, or read an attribute for one inside."""

    __slots__ = ("_caller", "_name")

    def __init__(self, caller: Functions, name: str) -> None:
        self._caller = caller
        self._name = name

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
            raise AttributeError(name)
        return Function(self._caller, f"{self._name}.{name}")

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        return self._caller.call(self._name, *args, **named)

    def __repr__(self) -> str:
        return f"<remote function {self._name}>"


class Later:
    """The result of a call in a batch, there when the batch was sent."""

    __slots__ = ("_outcome",)

    def __init__(self) -> None:
        self._outcome: Outcome | None = None

    def result(self) -> Any:
        """As the call itself would give it. Raises RemoteError; RuntimeError where the batch was not sent."""
        if self._outcome is None:
            raise RuntimeError("the batch was not sent yet: its results are there when its `with` block has ended")
        return self._outcome.take()


class Calls(Functions):
    """The calls that a batch collects."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._later: list[Later] = []

    def call(self, method: str, /, *args: Any, **named: Any) -> Later:
        """Add a call by its name; ``batch.disks.list(7)`` is the same as ``batch.call("disks.list", 7)``."""
        self._calls.append(make_call(method, args, named, len(self._calls) + 1))
        self._later.append(Later())
        return self._later[-1]

    def _parts(self) -> Iterator[list[Call]]:
        for first in range(0, len(self._calls), BATCH):
            yield self._calls[first : first + BATCH]

    def _settle(self, calls: list[Call], outcomes: Any) -> None:
        for call, outcome in zip(calls, outcomes, strict=True):
            self._later[call["id"] - 1]._outcome = outcome
