"""Addresses: text to value and back, and errors that say what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.addresses import AddressError, FdAddress, SystemdAddress, TcpAddress, UnixAddress, parse_address

GOOD = [
    ("unix:/run/app.sock", UnixAddress("/run/app.sock")),
    ("unix:app.sock", UnixAddress("app.sock")),
    ("unix:/run/with:colon", UnixAddress("/run/with:colon")),
    ("unix:/" + "x" * 106, UnixAddress("/" + "x" * 106)),
    ("127.0.0.1:9000", TcpAddress("127.0.0.1", 9000)),
    ("localhost:0", TcpAddress("localhost", 0)),
    ("my_host-1.example.org:65535", TcpAddress("my_host-1.example.org", 65535)),
    ("[::1]:9000", TcpAddress("::1", 9000)),
    ("[fe80::1%eth0]:9000", TcpAddress("fe80::1%eth0", 9000)),
    ("fd:0", FdAddress(0)),
    ("fd:17", FdAddress(17)),
    ("systemd:", SystemdAddress()),
    ("systemd:web.socket", SystemdAddress("web.socket")),
]


@pytest.mark.parametrize(("text", "value"), GOOD)
def test_text_to_value_and_back(text: str, value: object) -> None:
    assert parse_address(text) == value
    assert str(value) == text


BAD = [
    ("", "no address"),
    ("9000", "write 127.0.0.1:9000"),
    ("/run/app.sock", "write unix:/run/app.sock"),
    ("./app.sock", "write unix:./app.sock"),
    (":9000", "write 127.0.0.1:9000"),
    ("localhost", "host:port"),
    ("localhost:", "is not a port number"),
    ("localhost:http", "is not a port number"),
    ("localhost:-1", "is not a port number"),
    ("localhost:٣", "is not a port number"),
    ("localhost:65536", "outside 0 to 65535"),
    ("::1:9000", "write [::1]:9000"),
    ("[::1]", "lacks its port"),
    ("[::1", "lacks its port"),
    ("[localhost]:80", "write localhost:80"),
    ("[::zz]:80", "not an IPv6 address"),
    ("two words:80", "neither a host name"),
    ("-rf:80", "neither a host name"),
    ("http://localhost:80", "looks like a URL"),
    ("unix:", "needs a path"),
    ("unix:/a\0b", "NUL"),
    ("unix:@abstract", "no owner and no mode"),
    ("unix:/\ud800", "encoding"),
    ("unix:/" + "x" * 107, "this one has 108"),
    ("fd:", "is not a descriptor number"),
    ("fd:x", "is not a descriptor number"),
    ("fd:9999999", "outside 0 to"),
    ("systemd", "systemd:"),
    ("systemd:a:b", "without colons"),
    ("systemd:" + "x" * 256, "up to 255 characters"),
    ("systemd:two words", "of ASCII"),
]


@pytest.mark.parametrize(("text", "hint"), BAD)
def test_error_says_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert hint in str(caught.value)


def test_path_limit_counts_bytes_not_characters() -> None:
    with pytest.raises(AddressError, match="this one has 121"):
        parse_address("unix:/" + "ü" * 60)


@given(st.one_of(st.text(), st.text("[]:/@%.0123456789abcdfixnu-")))
def test_any_text_gives_an_address_that_round_trips_or_the_declared_error(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address
