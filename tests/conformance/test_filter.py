"""Lines 42 to 45 of the checklist: the filter role (FastCGI 1.0 §6.4), without a socket and through one."""

from __future__ import annotations

import wire
from conversation import feed, received
from fcgi_server import read_answer


def test_line_45_data_for_a_responder_is_ignored(connection):
    data = (
        wire.begin() + wire.record(wire.DATA, 1, b"x" * 100) + wire.record(wire.DATA, 1) + wire.params() + wire.stdin()
    )
    assert len(received(feed(connection, data))) == 1


def test_line_45_data_for_a_responder_does_not_reach_it(server):
    data = wire.record(wire.DATA, 1, b"x" * 100) + wire.record(wire.DATA, 1)
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        sock.sendall(wire.begin() + data + wire.params(1, post) + data + wire.stdin(1, b"four") + data)
        assert read_answer(sock).body == b"four"
        sock.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(sock).body == b"hello"
