"""The development gateway's reading of paths: nothing gets out of a prefix or a folder by writing it differently."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import HTTPError
from framework.frontends.gateway import normalise_path

PATHS = [
    (b"/", "/"),
    (b"/a", "/a"),
    (b"/a/", "/a/"),
    (b"//a///b", "/a/b"),
    (b"/a/./b/.", "/a/b/"),
    (b"/a/../b", "/b"),
    (b"/../../etc/passwd", "/etc/passwd"),
    (b"/a/%2e%2e/b", "/b"),
    (b"/a%2f..%2fb", "/b"),
    (b"/a/..", "/"),
    (b"/a/b/..", "/a/"),
    (b"/a%20b", "/a b"),
    (b"/%C3%A9", "\u00c3\u00a9"),
    (b"/.well-known/x", "/.well-known/x"),
    (b"/...", "/..."),
    (b"/a%252e%252e", "/a%2e%2e"),
]


@pytest.mark.parametrize(("raw", "path"), PATHS)
def test_path_is_decoded_and_rid_of_dot_segments(raw: bytes, path: str) -> None:
    assert normalise_path(raw) == (path if path.startswith("/") else f"/{path}")


@pytest.mark.parametrize("raw", [b"", b"a", b"*", b"/%", b"/%4", b"/%zz", b"/%00", b"/a%0d%0ab", b"/\x7f", b"/" * 8193])
def test_what_is_no_path_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(HTTPError) as caught:
        normalise_path(raw)
    assert caught.value.status == 400


dangerous = st.lists(st.sampled_from([b"/", b"..", b".", b"%2e", b"%2E%2e", b"%2f", b"\\", b"a", b"%252e", b"%c0%ae"]))


@given(st.one_of(st.binary(max_size=40), dangerous.map(b"".join)))
def test_no_path_keeps_a_way_up_and_a_normal_path_stays_as_it_is(raw: bytes) -> None:
    try:
        path = normalise_path(b"/" + raw)
    except HTTPError:
        return
    assert path.startswith("/")
    assert path == "/" or not {"", ".", ".."} & set(path.strip("/").split("/"))
    assert normalise_path(quote(path.encode("latin-1")).encode()) == path
