"""The application of the large bodies, by WSGI and by fastcore's native interface.

`/upload` reads the body in blocks of 64 KiB and answers its length and the Adler-32 of every stride-th byte: at stride
1 of all of them; at a large one, in the timed runs, of a sample whose places do not depend on how the server cuts the
body. `/blocks` answers the pattern as an iterator of blocks, `/file` the same from a file by wsgi.file_wrapper, where
the server has one. The pattern is that of native/shared.h: byte i is PATTERN[i % PERIOD].
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from zlib import adler32

BLOCK = 65536
PERIOD = 17 * BLOCK
FILE = "FASTCORE_BENCH_FILE"
"""Environment: the file with the pattern."""


def make_pattern() -> bytes:
    """One period of the pattern: a linear congruential generator."""
    state, out = 1, bytearray(PERIOD)
    for place in range(PERIOD):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out[place] = state >> 24
    return bytes(out)


def _blocks(size: int) -> Iterator[bytes]:
    whole, rest = divmod(size, BLOCK)
    for number in range(whole):
        yield BLOCKS[number % 17]
    if rest:
        yield BLOCKS[whole % 17][:rest]


def _read(file: Any) -> Iterator[bytes]:
    try:
        while block := file.read(BLOCK):
            yield block
    finally:
        file.close()


def _check(body: Any, stride: int) -> bytes:
    length, total = 0, 1
    while block := body.read(BLOCK):
        total = adler32(block if stride == 1 else block[-length % stride :: stride], total)
        length += len(block)
    return f"{length} {total}\n".encode()


def expected_answer(pattern: bytes, size: int, stride: int) -> str:
    """What `/upload` has to answer for a body of so many bytes."""
    total = 1
    for place in range(0, size, PERIOD):
        piece = pattern[: min(PERIOD, size - place)]
        total = adler32(piece[-place % stride :: stride], total)
    return f"{size} {total}\n"


def _sizes(query: str) -> tuple[int, int]:
    fields = dict(part.split("=", 1) for part in query.split("&"))
    return int(fields["size"]), int(fields["stride"])


def _head(size: int) -> list[tuple[str, str]]:
    return [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))]


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    """By WSGI (PEP 3333)."""
    size, stride = _sizes(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/upload":
        answer = _check(environ["wsgi.input"], stride)
        start_response("200 OK", _head(len(answer)))
        return [answer]
    start_response("200 OK", _head(size))
    if environ["PATH_INFO"] == "/blocks":
        return _blocks(size)
    file = open(os.environ[FILE], "rb")  # noqa: SIM115 - the server closes it
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(file, BLOCK) if wrapper is not None else _read(file)


def native(request: Any) -> tuple[int, list[tuple[str, str]], Any]:
    """By fastcore's native interface; it has no file of its own kind."""
    size, stride = _sizes(request.get("QUERY_STRING"))
    if request.get("PATH_INFO") == "/upload":
        answer = _check(request.body, stride)
        return 200, _head(len(answer)), answer
    return 200, _head(size), _blocks(size)


_PATTERN = make_pattern()
BLOCKS = [_PATTERN[place : place + BLOCK] for place in range(0, PERIOD, BLOCK)]
