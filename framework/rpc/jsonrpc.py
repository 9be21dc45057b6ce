"""JSON-RPC 2.0: the bytes of a request to the bytes of an answer, batches and notifications included. No HTTP here.

Always holds: whatever the bytes, the answer is JSON-RPC; only a function's own faults are logged, with an id that is
sent.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Coroutine, Generator, Mapping
from time import perf_counter
from types import GeneratorType, NoneType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from orjson import OPT_PASSTHROUGH_DATACLASS, JSONDecodeError, JSONEncodeError, dumps, loads

from framework.errors import HTTPError, format_traceback, log_error
from framework.response import encode_json
from framework.rpc.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    SERVER_ERROR,
    ProtocolError,
    RPCError,
)
from framework.rpc.values import to_plain
from framework.rpc.wire import pack

if TYPE_CHECKING:
    from framework.request import Request
    from framework.rpc.binding import RemoteFunction
    from framework.rpc.limits import CallLimits

STREAM = "application/x-ndjson"
"""The media type of the answer where a function is a generator."""

_NOTHING: dict[str, Any] = {}
_AT_HAND = frozenset({dict, list, str, int, float, bool, NoneType, tuple, set, bytes})
"""Types of results that are neither awaited nor streamed."""

T = TypeVar("T")
Steps: TypeAlias = Generator[Awaitable[Any], Any, T]
"""Work that yields what has to be awaited, and is sent what came of it."""


class Session:
    """The calls of one POST. With `tagged`, values have the tags of `framework.rpc.wire`, both ways.

    `refused` says afterwards that a call did not fit the functions: its caller may know older ones. `stream` is the
    body of the answer where the one call's result is a generator and the caller takes that; `heartbeat` is the seconds
    between its signs of life.
    """

    __slots__ = (
        "_functions",
        "_heartbeat",
        "_invalid",
        "_limits",
        "_request",
        "_unpacks",
        "refused",
        "stream",
        "tagged",
    )

    def __init__(
        self,
        functions: Mapping[str, RemoteFunction],
        request: Request,
        limits: CallLimits,
        tagged: bool = False,
        heartbeat: float = 0.0,
    ) -> None:
        self.refused = False
        self.stream: Any = None
        self._heartbeat = heartbeat
        self.tagged = tagged
        self._unpacks = False
        self._invalid = False
        self._functions = functions
        self._request = request
        self._limits = limits

    def answer(self, body: bytes) -> tuple[int, bytes] | Coroutine[Any, Any, tuple[int, bytes]]:
        """The HTTP status and the answer's bytes, which are none where only notifications came.

        Where a function is `async def`, this has to be awaited; the calls of a batch are made one after the other.
        """
        try:
            payload = read_json(body)
        except JSONDecodeError as error:
            return 400, self._refusal(None, ProtocolError(PARSE_ERROR, detail=str(error)))
        self._unpacks = self.tagged and b'"$' in body
        try:
            if is_deeper(body, payload, self._limits.depth):
                raise ProtocolError(INVALID_REQUEST, f"Invalid Request: nested deeper than {self._limits.depth}")
            if type(payload) is list:
                self._heartbeat = 0.0
                return _run(self._answer_batch(payload))
        except ProtocolError as error:
            return 400, self._refusal(None, error)
        answer = self._begin(payload)
        if type(answer) is bytes:
            return (400 if self._invalid else 200) if answer else 204, answer
        return _run(self._answer_later(answer))

    def _answer_batch(self, payload: list[Any]) -> Steps[tuple[int, bytes]]:
        """As `answer`; yields what has to be awaited, and is sent the result."""
        if not payload:
            raise ProtocolError(INVALID_REQUEST, detail="the batch is empty")
        if len(payload) > self._limits.batch:
            raise ProtocolError(INVALID_REQUEST, f"Invalid Request: a batch of more than {self._limits.batch} calls")
        answers = []
        for call in payload:
            answer = self._begin(call)
            if type(answer) is not bytes:
                answer = yield from self._end(answer)
            if answer:
                answers.append(answer)
        return (200, b"[" + b",".join(answers) + b"]") if answers else (204, b"")

    def _answer_later(self, unfinished: Unfinished) -> Steps[tuple[int, bytes]]:
        answer = yield from self._end(unfinished)
        return 200 if answer else 204, answer

    # PERF: nearly every call ends here, without a generator of steps around it.
    def _begin(self, call: Any) -> Any:
        """Make a call: its answer, empty for a notification; or an `Unfinished` where that has to be awaited."""
        try:
            has_id, call_id, method, params = read_call(call)
        except ProtocolError as error:
            self._invalid = True
            return self._refusal(_readable_id(call), error)
        try:
            function = self._functions.get(method)
            if function is None:
                raise ProtocolError(METHOD_NOT_FOUND, detail=f"there is no function {method[:60]!r}")
            if self._unpacks:
                params = function.unpack(params)
            began = perf_counter()
            try:
                result = function.call(params, self._request)
            except BaseException:
                log_call(method, perf_counter() - began)
                raise
            if type(result) not in _AT_HAND and (hasattr(result, "__await__") or is_stream(result)):
                return Unfinished(has_id, call_id, method, result, began)
            log_call(method, perf_counter() - began)
            return self._success(call_id, result) if has_id else b""
        except ProtocolError as error:
            answer = self._refusal(call_id, error)
        except Exception as error:
            answer = self._failed(call_id, method, error)
        return answer if has_id else b""

    def _end(self, call: Unfinished) -> Steps[bytes]:
        """The answer of a call whose result has to be awaited, or is a stream."""
        result = call.result
        try:
            try:
                if hasattr(result, "__await__"):
                    result = yield result
            finally:
                log_call(call.method, perf_counter() - call.began)
            if is_stream(result):
                return (yield from self._answer_stream(call.id if call.has_id else None, call.method, result))
            return self._success(call.id, result) if call.has_id else b""
        except ProtocolError as error:
            answer = self._refusal(call.id, error)
        except Exception as error:
            answer = self._failed(call.id, call.method, error)
        return answer if call.has_id else b""

    def _answer_stream(self, call_id: Any, method: str, source: Any) -> Steps[bytes]:
        """Make `source` the body of the answer. Raises ProtocolError where the caller takes none."""
        if call_id is None or not self._heartbeat or STREAM not in (self._request.source.get("HTTP_ACCEPT") or ""):
            close = getattr(source, "aclose", None)
            if close is None:
                source.close()
            else:
                yield close()
            if call_id is None:
                return b""
            raise ProtocolError(
                INVALID_REQUEST,
                f"Invalid Request: {method} gives a stream; call it alone, with Accept: {STREAM}",
            )
        from framework.rpc.streams import PlainLines, async_lines

        def item(value: Any) -> bytes:
            return self._encoded({"jsonrpc": "2.0", "method": "rpc.item", "params": [self._sendable(value)]}) + b"\n"

        def end(value: Any) -> bytes:
            return self._success(call_id, value) + b"\n"

        def failed(error: Exception) -> bytes:
            return self._failed(call_id, method, error) + b"\n"

        if hasattr(source, "__anext__"):
            self.stream = async_lines(source, item, end, failed, self._heartbeat)
        else:
            self.stream = PlainLines(source, item, end, failed)
        return b""

    def _refusal(self, call_id: Any, error: ProtocolError) -> bytes:
        """What the caller gets to see of a call that was not made."""
        if error.code in (METHOD_NOT_FOUND, INVALID_PARAMS):
            self.refused = True
        detail = {"detail": error.detail} if error.detail and self._is_development() else _NOTHING
        return _failure(call_id, error.code, str(error), detail)

    def _is_development(self) -> bool:
        app = self._request.app
        return app is not None and app.development

    def _failed(self, call_id: Any, method: str, error: Exception) -> bytes:
        """What the caller gets to see of an exception."""
        data: dict[str, Any] = {"type": type(error).__name__}
        code, message = SERVER_ERROR, text_of(error)
        if isinstance(error, RPCError):
            code = error.code
            if error.data is not None:
                data["data"] = self._packed(error.data)
        elif isinstance(error, HTTPError) and error.status < 500:
            code = data["status"] = error.status
            message = error.text
        else:
            if isinstance(error, Unsendable):
                code = INTERNAL_ERROR
            data["id"] = log_error(self._request, error, f"remote call of {method}")
            if self._is_development():
                data["traceback"] = format_traceback(error)
        return _failure(call_id, code, message, data)

    def _success(self, call_id: Any, result: Any) -> bytes:
        return self._encoded({"jsonrpc": "2.0", "result": self._sendable(result), "id": call_id})

    def _sendable(self, value: Any) -> Any:
        if not self.tagged:
            return value
        try:
            return pack(value)
        except (TypeError, RecursionError) as error:
            raise Unsendable(f"the result cannot be sent: {error}") from error

    def _encoded(self, answer: dict[str, Any]) -> bytes:
        default, options = (None, 0) if self.tagged else (to_plain, OPT_PASSTHROUGH_DATACLASS)
        try:
            return dumps(answer, default, options)
        except JSONEncodeError:
            pass
        try:
            return encode_json(answer, default, options)
        except (TypeError, RecursionError) as error:
            raise Unsendable(f"the result cannot be sent: {error.__cause__ or error}") from error

    def _packed(self, value: Any) -> Any:
        if not self.tagged:
            return value
        try:
            return pack(value)
        except (TypeError, RecursionError):
            return str(value)


def is_stream(result: Any) -> bool:
    """Whether a result is a generator, or an asynchronous iterator."""
    return type(result) is GeneratorType or hasattr(result, "__anext__")


_ESCAPE = re.compile(rb"\\(?:(u[dD][89abAB]..\\u[dD][c-fC-F]..)|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def read_json(body: bytes) -> Any:
    """As orjson, with "?" for half of a surrogate pair, which JavaScript's strings may have. Raises JSONDecodeError."""
    try:
        return loads(body)
    except JSONDecodeError:
        if b"\\ud" not in body and b"\\uD" not in body:
            raise
    return loads(_ESCAPE.sub(lambda found: b"?" if found[2] else found[0], body))


def text_of(error: BaseException) -> str:
    """An exception's message; "" where it cannot say one."""
    try:
        return str(error)
    except Exception:
        return ""


class Unfinished:
    """A call whose function has returned something to be awaited, or a stream."""

    __slots__ = ("began", "has_id", "id", "method", "result")

    def __init__(self, has_id: bool, call_id: Any, method: str, result: Any, began: float) -> None:
        self.has_id = has_id
        self.id = call_id
        self.method = method
        self.result = result
        self.began = began


def log_call(method: str, seconds: float) -> None:
    """Tell the log `framework.rpc` (level INFO) of a call that has ended, never of its arguments."""
    global _logger
    if _logger is None:
        logging = sys.modules.get("logging")
        if logging is None:  # then nobody can have asked for it
            return
        _logger = logging.getLogger("framework.rpc")
    if _logger.isEnabledFor(INFO):
        _logger.info("call of %s: %.1f ms", method, seconds * 1000)


INFO = 20  # logging.INFO
_logger: Any = None


def _run(steps: Steps[tuple[int, bytes]]) -> tuple[int, bytes] | Coroutine[Any, Any, tuple[int, bytes]]:
    """What the steps come to, or something to be awaited for it."""
    try:
        awaitable = next(steps)
    except StopIteration as end:
        status: int
        status, answer = end.value
        return status, answer
    return _finish(steps, awaitable)


async def _finish(steps: Steps[tuple[int, bytes]], awaitable: Awaitable[Any]) -> tuple[int, bytes]:
    """Await what the steps yield until they have an answer."""
    while True:
        result, failure = None, None
        try:
            result = await awaitable
        except BaseException as error:
            failure = error
        try:
            awaitable = steps.send(result) if failure is None else steps.throw(failure)
        except StopIteration as end:
            answer: tuple[int, bytes] = end.value
            return answer


class Unsendable(TypeError):
    """A function's result that JSON cannot carry."""


def read_call(call: Any) -> tuple[bool, Any, str, list[Any] | dict[str, Any]]:
    """One call as (has an id, id, method, params). Raises ProtocolError for what is no request object (section 4)."""
    if type(call) is not dict:
        raise ProtocolError(INVALID_REQUEST, detail="a call is an object")
    get = call.get
    if get("jsonrpc") != "2.0":
        raise ProtocolError(INVALID_REQUEST, detail='"jsonrpc" must be "2.0"')
    call_id = get("id")
    if type(call_id) not in _ID_TYPES:
        raise ProtocolError(INVALID_REQUEST, detail='"id" must be a string, a number or null')
    method = get("method")
    if type(method) is not str:
        raise ProtocolError(INVALID_REQUEST, detail='"method" must be a string')
    params = get("params", _NO_PARAMS)
    if type(params) is not list and type(params) is not dict:
        raise ProtocolError(INVALID_REQUEST, detail='"params" must be an array or an object')
    return "id" in call, call_id, method, params


_ID_TYPES = (int, str, NoneType, float)
_NO_PARAMS: list[Any] = []


def _is_id(value: Any) -> bool:
    return type(value) in _ID_TYPES


def _readable_id(call: Any) -> Any:
    """The id of an invalid call where it has a good one, else null (section 5)."""
    call_id = call.get("id") if isinstance(call, dict) else None
    return call_id if _is_id(call_id) else None


def _failure(call_id: Any, code: int, message: str, data: dict[str, Any] = _NOTHING) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message}
    if data:
        error["data"] = data
    answer = {"jsonrpc": "2.0", "error": error, "id": call_id}
    try:
        return encode_json(answer, to_plain, OPT_PASSTHROUGH_DATACLASS)
    except (TypeError, RecursionError):  # what an application put into an RPCError
        error["data"] = {name: str(value) for name, value in data.items()}
        return encode_json(answer)


def is_deeper(body: bytes, payload: Any, limit: int) -> bool:
    """Whether lists and objects are nested deeper than `limit`."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    level, depth = [payload], 0
    while containers := [value for value in level if isinstance(value, list | dict)]:
        depth += 1
        if depth > limit:
            return True
        level = [child for value in containers for child in (value.values() if isinstance(value, dict) else value)]
    return False
