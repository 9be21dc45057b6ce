"""The compiled modules against their specification: the same bytes and cuts mean the same, or fail the same."""

from __future__ import annotations

import pytest
import wire
from hypothesis import example, given
from hypothesis import strategies as st
from twin_player import describe, outcome, play

from fastcore import constants, implementation
from fastcore.limits import Limits

PURE = implementation.twin("pure")
LIMITS = Limits(params_bytes=400, params_count=12, body=300, requests_per_connection=3)

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module")
def compiled():
    if not implementation.accelerated and not implementation._compiled_modules_exist():
        pytest.skip("the compiled modules are not built (make build)")
    if implementation.chosen == "pure":
        pytest.skip("FASTCORE_PURE is set: the compiled twin is left out")
    return implementation.twin("compiled")


def check_same(name, room, *arguments):
    expected = outcome(getattr(getattr(PURE, room), name), *arguments)
    assert outcome(getattr(getattr(implementation.twin("compiled"), room), name), *arguments) == expected


small = st.integers(-2, 70_000)


@given(st.binary(max_size=24), st.integers(-3, 30))
def test_parse_header(data, offset):
    check_same("parse_header", "records", data, offset)


@given(small, small, small, small)
def test_build_header(kind, request_id, content, padding):
    check_same("build_header", "records", kind, request_id, content, padding)


@given(st.integers(0, 11), st.integers(0, 65535), st.integers(0, 140_000))
def test_build_stream(kind, request_id, size):
    check_same("build_stream", "records", kind, request_id, bytes(size))


@given(small, st.integers(-(2**33), 2**33), small)
def test_build_end_request(request_id, app_status, protocol_status):
    check_same("build_end_request", "records", request_id, app_status, protocol_status)


lengths = st.sampled_from([b"\0", b"\1", b"\x7f", b"\x80", b"\x80\0\0\1", b"\xff\xff\xff\xff", b"\x80\0\0"])
pair_like = st.lists(lengths | st.binary(max_size=8), max_size=12).map(b"".join)


@given(pair_like)
def test_parse_pairs(data):
    check_same("parse_pairs", "records", data)


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=6))
def test_pairs_there_and_back(pairs):
    check_same("build_pairs", "records", pairs)
    assert implementation.twin("compiled").records.parse_pairs(PURE.records.build_pairs(pairs)) == pairs


connection_headers = ("Connection", "KEEP-alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade")
header_names = st.sampled_from(
    [
        "Content-Type",
        "content-length",
        "CONTENT-LENGTH",
        "Status",
        "X-A",
        "",
        "a b",
        "é",
        "Ω",
        "Keep\rAlive",
        *connection_headers,
    ]
)
header_values = st.sampled_from(
    ["5", "05", "-1", "x\r\nEvil: 1", "a\tb", "\0", "\x7f", "é", "Ω", "", "9" * 20]
) | st.text(max_size=5)


@given(
    st.sampled_from([200, 204, 304, 404, 299, 999, 100, 1000, -1, "200", None, True]),
    st.lists(st.tuples(header_names, header_values), max_size=4),
    st.sampled_from(["", "Fine", "a\nb", "Ω", None]),
    st.integers(-1, 10),
)
def test_build_head(status, headers, reason, body_length):
    check_same("build_head", "response", status, headers, reason, body_length)


@given(st.binary(max_size=20) | st.sampled_from([b"0", b"12", b"9" * 18, b"9" * 19, b" 1", b"+1"]))
def test_parse_content_length(value):
    check_same("parse_content_length", "request", value)


@given(pair_like, st.integers(0, 4))
def test_request(raw, role):
    def made(twin):
        return describe(twin.request.Request(1, role, True, raw))

    expected = outcome(made, PURE)
    assert outcome(made, implementation.twin("compiled")) == expected


# Connections: sequences of plausible and broken records, cut anywhere, with answers given in between.

names = st.sampled_from(
    ["REQUEST_METHOD", "CONTENT_LENGTH", "FCGI_DATA_LENGTH", "HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "A", ""]
)
texts = st.sampled_from(["-1", "GET", "POST", "HEAD", "0", "5", "300", "301", "x", "", "chunked"])
good_params = st.lists(st.tuples(names, texts), max_size=5).map(wire.pairs)
ids = st.sampled_from([1, 1, 1, 2, 3, 4, 0, 65535])
one_record = st.one_of(
    st.builds(wire.begin, ids, role=st.sampled_from([1, 1, 1, 1, 2, 3, 9]), flags=st.sampled_from([0, 1, 1, 1, 255])),
    st.builds(wire.record, st.just(wire.PARAMS), ids, good_params, padding=st.sampled_from([0, 0, 3, 255])),
    st.builds(wire.record, st.just(wire.PARAMS), ids),
    st.builds(wire.record, st.just(wire.STDIN), ids, st.binary(max_size=120), padding=st.sampled_from([0, 0, 8])),
    st.builds(wire.record, st.just(wire.STDIN), ids),
    st.builds(wire.record, st.just(wire.DATA), ids, st.binary(max_size=120) | st.just(b"")),
    st.builds(wire.record, st.just(wire.ABORT), ids),
    st.builds(
        wire.record,
        st.just(wire.GET_VALUES),
        st.sampled_from([0, 0, 0, 1]),
        st.lists(st.sampled_from(["FCGI_MAX_CONNS", "FCGI_MPXS_CONNS", "X"]), max_size=3).map(
            lambda found: wire.pairs([(name, "") for name in found])
        ),
    ),
    st.builds(wire.record, st.integers(0, 255), ids, st.binary(max_size=30)),
    st.builds(wire.request, ids, st.binary(max_size=50), flags=st.sampled_from([0, 1])),
    st.binary(max_size=12),
)
answers = st.sampled_from(["", "", "answer", "stderr", "end", "break", "refuse", "drop"])


@given(
    st.lists(one_record, max_size=14).map(b"".join),
    st.lists(st.integers(0, 60), max_size=40),
    st.lists(answers, max_size=40),
    st.sampled_from([{}, {"roles": (1, 2, 3)}, {"roles": (3,), "overload": "page"}]),
)
@example(wire.begin() + wire.record(wire.ABORT, 1), [], [], {})
@example(wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST"}) + wire.stdin(1, bytes(301)), [9], ["end"], {})
def test_connection(data, cuts, actions, options):
    expected = play(PURE, data, cuts, actions, LIMITS, options)
    assert play(implementation.twin("compiled"), data, cuts, actions, LIMITS, options) == expected


def test_constants_are_those_of_the_specification_module():
    import re
    from pathlib import Path

    text = (Path(implementation.__file__).parent / "compiled" / "protocol.pxd").read_text()
    compiled_numbers = {
        name: int(value) for name, value in re.findall(r"^    ([A-Z_0-9]+) = (\d+)$", text, re.MULTILINE)
    }
    assert len(compiled_numbers) > 20
    assert compiled_numbers == {name: getattr(constants, name) for name in compiled_numbers}


pieces = st.lists(st.sampled_from([b"", b"x", b"a\nb", bytes(900), bytes(17_000), bytes(70_000)]), max_size=8)


@given(pieces, st.sampled_from([1, 900, 20_000, 200_000]), st.integers(-1, 150_000))
def test_stored_body_is_what_was_put_in(pieces, memory, declared):
    limits = Limits(body_memory=memory)
    raw = wire.pairs({"CONTENT_LENGTH": str(declared)} if declared >= 0 else {})
    for twin in (PURE, implementation.twin("compiled")):
        request = twin.request.Request(1, 1, True, raw)
        for piece in pieces:
            request.store_body(piece, limits)
        request.finish_body()
        whole = b"".join(pieces)
        assert request.content_length == (declared if declared >= 0 else len(whole))
        assert request.body.tell() == 0
        assert request.body.read() == whole
        request.body.seek(0)
        assert request.body.readline() == whole.partition(b"\n")[0] + (b"\n" if b"\n" in whole else b"")
        request.close()
        assert request.body.closed
