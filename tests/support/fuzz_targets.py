"""What is fuzzed, as functions of bytes: `check(target, data)` raises where something is found. See tests/fuzz.

Where both twins do a thing, the same input goes to both, and what they make of it has to be equal. Where there is one
implementation only the documented errors may escape. `mutate()` makes new input from old, knowing records.
"""

from __future__ import annotations

import io
import os
import random
import re
import signal
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twin_player import describe, outcome, play

from fastcore import implementation
from fastcore.client.errors import ConnectionLost
from fastcore.client.limits import ClientLimits
from fastcore.client.protocol import ClientConnection
from fastcore.errors import ProtocolError
from fastcore.limits import Limits
from fastcore.routing import Router
from fastcore.routing.errors import RoutingError
from framework import HTTPError, Request
from framework.site import SiteError, load
from framework.wsgi import EnvironSource

PURE = implementation.twin("pure")
LIMITS = Limits(params_bytes=1500, params_count=30, body=2000, body_memory=300, requests_per_connection=3)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"roles": (1, 2, 3)},
    {"roles": (3,), "overload": "page"},
    {"roles": (1, 2, 3), "overload": "page"},
)
TWINS = ("pure", "compiled")

SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 25, 31, 32, 40, 64, 100, 127, 128, 200, 255, 256, 300, 500)
SIZES += (600, 1000, 2000, 5000)
ACTIONS = ("", "answer", "stderr", "end", "refuse", "drop", "break", "answer")


def compare(function: Callable[[Any], object]) -> None:
    """Call it with each twin; the results, or the errors, have to be equal."""
    results = [function(implementation.twin(name)) for name in TWINS]
    assert results[0] == results[1], f"the twins differ:\n  pure     {results[0]!r}\n  compiled {results[1]!r}"


def split(data: bytes) -> tuple[int, bytes, bytes]:
    """(option, plan, stream): two bits of the first byte are the option, the others the plan's length."""
    first = data[0] if data else 0
    length = first & 63
    return first >> 6, data[1 : 1 + length], data[1 + length :]


def steps(plan: bytes, stream: bytes) -> tuple[list[int], list[str]]:
    """Where the stream is cut, and what is done after each piece; a plan is used again and again."""
    cuts: list[int] = []
    actions: list[str] = []
    left = len(stream)
    while plan and left > 0 and len(cuts) < 100:
        byte = plan[len(cuts) % len(plan)]
        cuts.append(SIZES[byte % 31])
        actions.append(ACTIONS[byte // 32])
        left -= cuts[-1]
    return cuts, actions


def check_connection(data: bytes) -> None:
    """A server's connection: events, output, errors and state after each piece."""
    option, plan, stream = split(data)
    cuts, actions = steps(plan, stream)
    compare(lambda twin: play(twin, stream, cuts, actions, LIMITS, OPTIONS[option]))


def check_params(data: bytes) -> None:
    """A PARAMS stream: pairs, a request of them, the WSGI environment."""
    length = data[:1] + bytes(7)

    def made(twin: Any) -> object:
        request = twin.request.Request(1, len(data) % 4, True, data)
        environ = twin.wsgi.WSGIAdapter(lambda environ, start_response: []).environ(request)
        shown = {name: value for name, value in environ.items() if isinstance(value, (str, bool, tuple))}
        return describe(request), shown, request.body.read()

    def seen(twin: Any) -> object:
        records = twin.records
        return (
            outcome(records.parse_pairs, data),
            outcome(records.parse_header, data, length[0] % 16),
            outcome(twin.request.parse_content_length, data[:24]),
            outcome(made, twin),
        )

    compare(seen)
    with suppress(ProtocolError):
        pairs = PURE.records.parse_pairs(data)
        assert PURE.records.parse_pairs(implementation.twin("compiled").records.build_pairs(pairs)) == pairs


def check_answer(data: bytes) -> None:
    """An application's answer: status, reason, headers and pieces of body, each line of the input one of them."""
    first, *lines = data.split(b"\n")
    flags = first[0] if first else 0
    texts = [line.decode("utf-8", "surrogateescape") for line in lines]
    status = int.from_bytes(first[1:3], "big") - (1 if flags & 64 else 0)
    count = flags % 4
    headers = [(name, value) for name, _, value in (text.partition(":") for text in texts[1 : 1 + count])]
    pieces = lines[1 + count :]

    class Answer:
        body: Any = pieces if flags & 4 else b"".join(pieces) if flags & 8 else iter(pieces)
        reason = texts[0] if texts else ""

    def answered(twin: Any) -> object:
        answer = Answer()
        answer.status, answer.headers = status, headers  # type: ignore[attr-defined]
        if not flags & 12:
            answer.body = iter(pieces)
        method = b"HEAD" if flags & 16 else b"GET"
        request = twin.request.Request(1, 1, True, b"\x0e" + bytes((len(method),)) + b"REQUEST_METHOD" + method)
        said: list[str] = []
        exchange = twin.exchange.Exchange(request, lambda request: answer, said.append)
        exchange.start()
        output: list[bytes | None] = []
        while not exchange.finished:
            output.append(exchange.next_chunk())
            assert len(output) < len(pieces) + 20, "the answer does not end"
        told = [text.partition("\n")[0] + text.rpartition("\n")[2] for text in said]
        return output, exchange.app_status, told

    compare(lambda twin: outcome(twin.response.build_head, status, headers, Answer.reason, flags - 3))
    compare(answered)


class _TooSlow(Exception):
    """`re` backtracks for too long."""


def _patiently(function: Callable[[str], Any], text: str) -> Any:
    """The result, or _TooSlow."""

    def give_up(*_: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        return function(text)
    except _TooSlow:
        return _TooSlow
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_router(data: bytes) -> None:
    """A table of patterns, a line each, and a path, the last line: the compiled matcher finds what `re` finds."""
    data = data or b"\0"
    *patterns, path = data[1:400].decode("utf-8", "surrogateescape").split("\n")
    table = [(pattern[:60], index) for index, pattern in enumerate(patterns[:6])]
    flags = re.RegexFlag(0)
    for bit, flag in enumerate((re.IGNORECASE, re.MULTILINE, re.DOTALL, re.ASCII)):
        flags |= flag if data[0] >> bit & 1 else 0
    try:
        routers = [Router(table, int(flags), matcher=implementation.twin(name).matcher) for name in TWINS]
    except RoutingError:
        return
    for text in (path, path[: len(path) // 2]):
        expected, found = (_patiently(router.match, text) for router in routers)
        if _TooSlow not in (expected, found):
            assert found == expected, f"{table!r}, {text!r}: {found!r}, but re gives {expected!r}"


def check_client(data: bytes) -> None:
    """A client of a hostile server: only the documented errors, the same for any cuts and both record codecs."""
    _, plan, stream = split(data)
    cuts, _ = steps(plan, stream)
    limits = ClientLimits(head=300, body=1000, errors=300, overhead=2000)

    def talk(twin: Any, cuts: list[int]) -> list[object]:
        connection = ClientConnection(limits=limits)
        connection._records = twin.records
        for role in (1, 1, 3):
            connection.send_request({"A": "b"}, role=role)
        connection.abort(2)
        connection.get_values([b"FCGI_MAX_CONNS"])
        seen: list[object] = [connection.data_to_send()]
        rest = stream
        try:
            for cut in [*cuts, len(stream)]:
                connection.receive_data(rest[:cut])
                rest = rest[cut:]
                while (event := connection.next_event()) is not None:
                    seen.append(event)
            assert len(connection._buffer) - connection._offset < 8 + 65535 + 255
            connection.receive_eof()
        except (ProtocolError, ConnectionLost) as error:
            seen.append((type(error), str(error)))
        return seen

    whole = talk(PURE, [])
    assert talk(PURE, cuts) == whole
    assert talk(implementation.twin("compiled"), cuts) == whole


CONTENT_TYPES = (
    "multipart/form-data; boundary=x",
    'multipart/form-data; boundary="--a b"',
    "application/x-www-form-urlencoded",
    "application/json",
    "text/plain; charset=utf-16",
)


def check_forms(data: bytes) -> None:
    """What a browser sends to an application: only HTTPError escapes. Header lines, an empty one, a body."""
    head, _, body = data[1:].partition(b"\n\n")
    fields = [line.partition(b"=")[::2] for line in head.split(b"\n")][:20]
    chosen = CONTENT_TYPES[(data[0] if data else 0) % len(CONTENT_TYPES)].encode()
    pairs = [(b"REQUEST_METHOD", b"POST"), (b"CONTENT_TYPE", chosen), (b"CONTENT_LENGTH", b"%d" % len(body))]
    source = PURE.request.Request(1, 1, True, PURE.records.build_pairs([*pairs, *fields]))
    source.store_body(body, Limits())
    source.finish_body()
    look_through(source)
    environ: dict[str, Any] = {key.decode("latin-1"): value.decode("latin-1") for key, value in [*pairs, *fields]}
    for length in (None, environ["CONTENT_LENGTH"]):  # None: it came in chunks, and nobody said how long it is
        environ |= {"CONTENT_LENGTH": length, "wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        look_through(EnvironSource(environ))


def look_through(source: Any) -> None:
    """Read all of a request; only HTTPError escapes."""
    try:
        request = Request(source)
    except HTTPError:
        return
    for name in ("host", "scheme", "remote_addr", "query", "cookies", "headers", "form", "files", "json", "data"):
        with suppress(HTTPError):
            getattr(request, name)
    with suppress(HTTPError):
        for file in request.files.values():
            assert isinstance(file.filename, str | None)
    request.close()


_FOLDER = tempfile.mkdtemp(prefix="fuzz-") if os.environ.get("FUZZ_TARGET") else ""


def check_site(data: bytes) -> None:
    """A site file: it is loaded, or refused by SiteError with at least one reason."""
    folder = _FOLDER or tempfile.gettempdir()
    path = os.path.join(folder, f"fuzzed-{os.getpid()}.toml")
    with open(path, "wb") as file:
        file.write(data)
    try:
        load(path)
    except SiteError as error:
        if not (error.problems and str(error)):
            raise AssertionError("a SiteError without a reason") from error
    finally:
        os.unlink(path)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "connection": check_connection,
    "params": check_params,
    "answer": check_answer,
    "router": check_router,
    "client": check_client,
    "forms": check_forms,
    "site": check_site,
}
RECORDS = ("connection", "client")  # targets whose input is a plan and a stream of records


def check(target: str, data: bytes) -> None:
    """Run one target on one input."""
    TARGETS[target](data)


# New input from old

PAIRS = (
    b"\x0e\x03REQUEST_METHODGET",
    b"\x0e\x04REQUEST_METHODPOST",
    b"\x0e\x04REQUEST_METHODHEAD",
    b"\x0e\x01CONTENT_LENGTH5",
    b"\x0e\x04CONTENT_LENGTH2001",
    b"\x0e\x00CONTENT_LENGTH",
    b"\x0e\x02CONTENT_LENGTH-1",
    b"\x0a\x01HTTP_PROXYx",
    b"\x16\x07HTTP_TRANSFER_ENCODINGchunked",
    b"\x80\x00\x00\x01\x80\x00\x00\x02Abc",
    b"\x10\x01FCGI_DATA_LENGTH5",
    b"\x12\x01FCGI_DATA_LAST_MOD1",
    b"\x0e\x00FCGI_MAX_CONNS",
    b"\x0f\x00FCGI_MPXS_CONNS",
    b"\x80\x00\x00\x01",
    b"\xff\xff\xff\xff",
    b"\x05",
)
HEADS = (
    b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n",
    b"Status: 404\nX: y\n\nbody",
    b"Content-Length: 5\r\n\r\nhello",
    b"Location: /x\n\n",
    b"\r\n\r\n",
)


def _record(kind: int, request_id: int, content: bytes, padding: int = 0) -> bytes:
    return struct.pack("!BBHHBB", 1, kind, request_id, len(content), padding, 0) + content + bytes(padding)


def _new_records(rng: random.Random, target: str) -> bytes:
    request_id = rng.choice((1, 1, 1, 2, 3, 0, 65535))
    padding = rng.choice((0, 0, 0, 1, 7, 255))
    if target == "client":
        content = rng.choice((b"", b"x" * rng.randrange(300), rng.choice(HEADS), bytes(8)))
        return _record(rng.choice((3, 6, 6, 6, 7, 10, 11)), request_id, content, padding)
    begin = _record(1, request_id, struct.pack("!HB5x", rng.choice((1, 1, 1, 2, 3, 9)), rng.choice((0, 1, 1))))
    pairs = b"".join(rng.choices(PAIRS, k=rng.randrange(4)))
    params = _record(4, request_id, pairs, padding) + _record(4, request_id, b"")
    body = _record(rng.choice((5, 5, 5, 8)), request_id, b"x" * rng.choice((0, 1, 5, 6, 100, 2001)), padding)
    single = _record(rng.randrange(13), request_id, rng.choice((b"", pairs, bytes(8))), padding)
    whole = begin + params + body + _record(5, request_id, b"")
    return rng.choice((begin, params, body, single, begin + params, whole))


def _records_of(stream: bytes) -> list[bytes]:
    found = []
    while stream:
        end = 8 + int.from_bytes(stream[4:6], "big") + stream[6] if len(stream) >= 8 else len(stream)
        found.append(stream[:end])
        stream = stream[end:]
    return found


def mutate_records(target: str, data: bytes, rng: random.Random, native: Callable[[bytes, int], bytes]) -> bytes:
    """Change whole records, so that what follows them still means something."""
    option, plan, stream = split(data)
    records = _records_of(stream)
    place = rng.randrange(len(records) + 1)
    choice = rng.randrange(8)
    if choice < 2 or not records:
        records.insert(place, _new_records(rng, target))
    elif choice == 2:
        del records[place : place + rng.choice((1, 1, 2, 4))]
    elif choice == 3:
        records.insert(place, rng.choice(records))
    elif choice == 4:
        rng.shuffle(records)
    elif choice == 5:
        option = rng.randrange(4)
        plan = native(plan, 63)[:63]
    else:
        place = rng.randrange(len(records))
        header, content = bytearray(records[place][:8].ljust(8, b"\0")), records[place][8:]
        if choice == 6:
            header[rng.choice((1, 2, 3, 6))] = rng.choice((0, 1, 2, 3, 5, 255))
        else:
            content = native(content, len(content) + 20)[:65535]
        header[4:6] = max(len(content) - header[6], 0).to_bytes(2, "big")
        records[place] = bytes(header) + content
    return bytes((option << 6 | len(plan),)) + plan + b"".join(records)


def plain_mutate(data: bytes, limit: int, rng: random.Random) -> bytes:
    """What stands in for libFuzzer's own mutation where that is not there."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(changed) + 1)
        choice = rng.randrange(5)
        if choice == 0:
            changed[place:place] = rng.choice((b"\0", b"\n", b"\xff", b"=", b"\x80\0\0\1", rng.randbytes(3)))
        elif choice == 1:
            del changed[place : place + rng.choice((1, 1, 4, 16))]
        elif choice == 2 and changed:
            changed[place - 1] ^= 1 << rng.randrange(8)
        elif choice == 3 and changed:
            changed[place - 1] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        else:
            piece = rng.randrange(len(changed) + 1)
            changed[place:place] = changed[piece : piece + rng.choice((1, 4, 20))]
    return bytes(changed[:limit])


def mutate(target: str, data: bytes, limit: int, seed: int) -> bytes:
    """libFuzzer's own mutation, or for streams of records mostly one that knows them."""
    rng = random.Random(seed)

    def native(data: bytes, limit: int) -> bytes:
        try:
            from libfuzzer import mutate  # a module of the program that libfuzzer.c makes
        except ImportError:
            return plain_mutate(data, limit, rng)
        return bytes(mutate(data, limit))

    if target in RECORDS and rng.random() < 0.7:
        return mutate_records(target, data, rng, native)[:limit]
    return native(data, limit)
