"""FastCGI bytes for tests, written out by hand from the specification: no code of the project builds or reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN = range(1, 12)
KEEP = 1
BROKEN_OFF = 0


class Record(NamedTuple):
    """One record as read from the wire."""

    type: int
    id: int
    content: bytes


def record(
    kind: int, request_id: int, content: bytes = b"", *, padding: int = 0, version: int = 1, reserved: int = 0
) -> bytes:
    head = struct.pack("!BBHHBB", version, kind, request_id, len(content), padding, reserved)
    return head + content + b"\xaa" * padding


def begin(request_id: int = 1, *, role: int = 1, flags: int = KEEP) -> bytes:
    return record(BEGIN, request_id, struct.pack("!HB5x", role, flags))


def _length(value: bytes, long_form: bool) -> bytes:
    if len(value) > 127 or long_form:
        return struct.pack("!I", len(value) | 0x80000000)
    return bytes((len(value),))


def pair(name: bytes, value: bytes, *, long_name: bool = False, long_value: bool = False) -> bytes:
    return _length(name, long_name) + _length(value, long_value) + name + value


def pairs(parameters: Mapping[str, str] | Iterable[tuple[str, str]]) -> bytes:
    items = parameters.items() if isinstance(parameters, Mapping) else parameters
    return b"".join(pair(name.encode("latin-1"), value.encode("latin-1")) for name, value in items)


def params(request_id: int = 1, parameters: Mapping[str, str] | None = None, *, chunk: int = 65535) -> bytes:
    """The PARAMS stream, its end included."""
    data = pairs({"REQUEST_METHOD": "GET"} if parameters is None else parameters)
    parts = [record(PARAMS, request_id, data[start : start + chunk]) for start in range(0, len(data), chunk)]
    return b"".join(parts) + record(PARAMS, request_id)


def stdin(request_id: int = 1, data: bytes = b"", *, chunk: int = 65535) -> bytes:
    """The STDIN stream, its end included."""
    parts = [record(STDIN, request_id, data[start : start + chunk]) for start in range(0, len(data), chunk)]
    return b"".join(parts) + record(STDIN, request_id)


def request(request_id: int = 1, body: bytes = b"", *, flags: int = KEEP, **parameters: str) -> bytes:
    """A whole request; `parameters` on top of a method and, where there is a body, its length."""
    all_parameters = {"REQUEST_METHOD": "POST" if body else "GET"}
    if body:
        all_parameters["CONTENT_LENGTH"] = str(len(body))
    all_parameters.update(parameters)
    return begin(request_id, flags=flags) + params(request_id, all_parameters) + stdin(request_id, body)


def records(data: bytes) -> list[Record]:
    """Split bytes into records; they must be whole, of version 1, and reserved must be 0."""
    found = []
    start = 0
    while start < len(data):
        assert len(data) >= start + 8, f"cut off in a header: {data[start:]!r}"
        if len(data) == start + 8 and data[start:] == bytes(8):  # no record: the end of a broken answer
            found.append(Record(BROKEN_OFF, 0, b""))
            break
        version, kind, request_id, length, padding, reserved = struct.unpack_from("!BBHHBB", data, start)
        assert version == 1, f"version {version}"
        assert reserved == 0, f"reserved byte {reserved}"
        end = start + 8 + length + padding
        assert len(data) >= end, "cut off in a record"
        found.append(Record(kind, request_id, data[start + 8 : start + 8 + length]))
        start = end
    return found


class Answer(NamedTuple):
    """What one request got. An answer that was broken off with its connection has `broken` and no statuses (-1)."""

    stdout: bytes
    stderr: bytes
    app_status: int
    protocol_status: int
    broken: bool = False

    @property
    def head(self) -> bytes:
        return self.stdout.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.stdout.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        line = self.head.split(b"\r\n")[0]
        assert line.startswith(b"Status: "), f"no status line: {line!r}"
        return int(line[8:11])


def answer(data: bytes | list[Record], request_id: int = 1) -> Answer:
    """The answer to one request; asserts terminated streams and one END_REQUEST, the last.

    Or, where the answer was broken off, that it was the last on its connection and has no ends.
    """
    found = records(data) if isinstance(data, bytes) else data
    mine = [r for r in found if r.id == request_id]
    if mine and found[-1].type == BROKEN_OFF and not any(r.type == END for r in mine):
        assert all(r.content for r in mine), "an answer that is not whole has ends"
        streams = (b"".join(r.content for r in mine if r.type == kind) for kind in (STDOUT, STDERR))
        return Answer(*streams, -1, -1, broken=True)
    assert [r.type for r in mine].count(END) == 1, f"not exactly one END_REQUEST: {mine!r}"
    assert mine[-1].type == END, "records after END_REQUEST"
    stdout = [r.content for r in mine if r.type == STDOUT]
    stderr = [r.content for r in mine if r.type == STDERR]
    app_status, protocol_status = struct.unpack("!IB3x", mine[-1].content)
    if stdout or protocol_status == 0:
        assert stdout, "no STDOUT"
        assert stdout[-1] == b"", "STDOUT is not terminated"
        assert b"" not in stdout[:-1], "an empty STDOUT record in mid-stream"
    if stderr:
        assert stderr[-1] == b"", "STDERR is not terminated"
        assert b"" not in stderr[:-1], "an empty STDERR record in mid-stream"
    return Answer(b"".join(stdout), b"".join(stderr), app_status, protocol_status)
