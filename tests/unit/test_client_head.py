"""The head of a CGI answer: what is read from it, what is refused, and that pieces and the whole give the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.client import ClientLimits, Head, parse_head
from fastcore.client.head import HeadParser
from fastcore.errors import ProtocolError

HEADS = [
    (b"Content-Type: text/plain", Head(200, [("Content-Type", "text/plain")])),
    (b"Status: 404 Not Found\r\nX: 1\r", Head(404, [("X", "1")])),
    (b"status:  201\nX:", Head(201, [("X", "")])),
    (b"Status: 599 \nA: b: c", Head(599, [("A", "b: c")])),
    (b"Location: /other", Head(302, [("Location", "/other")])),
    (b"Location: /other\nStatus: 201 Created", Head(201, [("Location", "/other")])),
    (b"Set-Cookie: a=1\nSet-Cookie: b=2", Head(200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])),
    (b"X-Name: \tJ\xfcrgen\t ", Head(200, [("X-Name", "Jürgen")])),
]


@pytest.mark.parametrize(("data", "head"), HEADS)
def test_head_is_read(data: bytes, head: Head) -> None:
    assert parse_head(data) == head


BAD = [
    (b"HTTP/1.1 200 OK", "not a header line"),
    (b"no colon", "not a header line"),
    (b": empty name", "not a header line"),
    (b"Bad Name: x", "not a header line"),
    (b" folded: x", "not a header line"),
    (b"Status: abc", "not a status"),
    (b"Status: 0200 OK", "not a status"),
    (b"Status: 20", "not a status"),
    (b"Status: 200OK", "not a status"),
    (b"Status: 200 OK\nStatus: 200 OK", "more than one Status"),
    (b"X: a\rb", "control character"),
    (b"X: a\0b", "control character"),
    (b"X: \x1b[31m", "control character"),
]


@pytest.mark.parametrize(("data", "reason"), BAD)
def test_head_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        parse_head(data)


def test_header_count_limit_and_one_over() -> None:
    limits = ClientLimits(header_count=3)
    assert len(parse_head(b"A: 1\nB: 2\nC: 3", limits).headers) == 3
    with pytest.raises(ProtocolError, match="more than 3 header lines"):
        parse_head(b"A: 1\nB: 2\nC: 3\nD: 4", limits)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_head_size_limit_and_one_over(step: int) -> None:
    head = b"A: " + b"x" * 93 + b"\r\n\r\n"
    assert len(head) == 100
    for limit, fits in [(100, True), (99, False)]:
        parser = HeadParser(ClientLimits(head=limit))
        pieces = [head[at : at + step] for at in range(0, len(head), step)]
        if fits:
            assert [parser.receive_data(piece) for piece in pieces][-1] is not None
        else:
            with pytest.raises(ProtocolError, match="longer than 99 bytes"):
                list(map(parser.receive_data, pieces))


def test_answer_without_a_head_is_told_so_at_once() -> None:
    with pytest.raises(ProtocolError, match="begins with an empty line"):
        HeadParser().receive_data(b"\r\nbody")


def parse_pieces(pieces: list[bytes]) -> tuple[object, bytes]:
    """What the pieces give: a head and all of the body, or the text of the error."""
    parser = HeadParser(ClientLimits(head=64, header_count=4))
    for index, piece in enumerate(pieces):
        try:
            found = parser.receive_data(piece)
        except ProtocolError:
            return ProtocolError, b""
        if found is not None:
            return found[0], found[1] + b"".join(pieces[index + 1 :])
    return None, parser.pending


lines = st.lists(st.sampled_from([b"Status: 200 OK", b"A: b", b"Location: x", b"A", b"", b"\x00", b"C: " + b"y" * 30]))


@given(st.one_of(st.binary(max_size=120), lines.map(b"\r\n".join), lines.map(b"\n".join)), st.data())
def test_any_bytes_in_any_pieces_give_what_the_whole_gives(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole = parse_pieces([data])
    assert parse_pieces([piece for piece in pieces if piece]) == (whole if data else (None, b""))
