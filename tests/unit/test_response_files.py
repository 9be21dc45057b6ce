"""Files as answers: what caches need, conditions, and no way out of the folder."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import app_caller
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework import App, HTTPError, Response, safe_join
from framework.files import CHUNK_BYTES, FileBody, content_type_of

Call = Callable[..., app_caller.Answer]


@pytest.fixture(params=app_caller.INTERFACES)
def call(request: pytest.FixtureRequest) -> Call:
    return functools.partial(app_caller.call, interface=request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "public"
    (root / "sub").mkdir(parents=True)
    (root / "a.css").write_bytes(b"body{}")
    (root / "sub" / "b.bin").write_bytes(os.urandom(3 * CHUNK_BYTES + 5))
    (tmp_path / "secret").write_text("secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "in").symlink_to(root / "a.css")
    os.utime(root / "a.css", (1_000_000_000, 1_000_000_000))
    return root


def serve(folder: Path) -> App:
    return App([("/(?P<path>.*)$", lambda request, path: Response.file(safe_join(folder, path)))])


def test_a_file_is_sent_with_what_caches_need(call: Call, folder: Path) -> None:
    answer = call(serve(folder), "/a.css")
    assert (answer.status, answer.body) == (200, b"body{}")
    assert answer.get("Content-Type") == "text/css; charset=utf-8"
    assert answer.get("Content-Length") == "6"
    assert answer.get("Last-Modified") == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert answer.get("ETag") == '"de0b6b3a7640000-6"'
    assert call(serve(folder), "/sub/b.bin").body == (folder / "sub" / "b.bin").read_bytes()


def test_a_client_that_has_it_gets_304(call: Call, folder: Path) -> None:
    first = call(serve(folder), "/a.css")
    etag, modified = first.get("ETag") or "", first.get("Last-Modified") or ""
    for headers in ({"If-None-Match": etag}, {"If-Modified-Since": modified}):
        for method in ("GET", "HEAD"):
            answer = call(serve(folder), "/a.css", method, headers=headers)
            assert (answer.status, answer.body, answer.get("ETag")) == (304, b"", etag)
            assert answer.get("Content-Length") is None
    both = {"If-None-Match": '"other"', "If-Modified-Since": modified}
    assert call(serve(folder), "/a.css", headers=both).status == 200
    (folder / "a.css").write_bytes(b"body{ }")
    assert call(serve(folder), "/a.css", headers={"If-None-Match": etag}).status == 200


def test_head_has_the_length_and_no_body(call: Call, folder: Path) -> None:
    answer = call(serve(folder), "/a.css", "HEAD")
    assert (answer.status, answer.body, answer.get("Content-Length")) == (200, b"", "6")


def test_a_server_may_send_the_file_itself(folder: Path) -> None:
    response = serve(folder)(app_caller.native_request([(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", b"/sub/b.bin")]))
    body = response.body
    assert isinstance(body, FileBody)
    assert os.pread(body.file.fileno(), body.length, body.offset) == (folder / "sub" / "b.bin").read_bytes()
    response.close()
    assert body.file.closed


def test_a_part_of_a_file_is_iterated(folder: Path) -> None:
    content = (folder / "sub" / "b.bin").read_bytes()
    body = FileBody((folder / "sub" / "b.bin").open("rb"), 10, CHUNK_BYTES + 1)
    assert b"".join(body) == content[10 : 10 + CHUNK_BYTES + 1]
    assert b"".join(body) == content[10 : 10 + CHUNK_BYTES + 1]
    body.close()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "sub",
        "nope",
        "a.css/x",
        "../secret",
        "sub/../../secret",
        "out",
        "/etc/passwd",
        "a\0b",
        "..\\secret",
        "x" * 5000,
        ".",
        "sub/./b.bin",
    ],
)
def test_what_is_no_file_of_the_folder_is_not_found(folder: Path, path: str) -> None:
    with pytest.raises(HTTPError) as caught:
        Response.file(safe_join(folder, path)).close()
    assert caught.value.status == 404


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    assert safe_join(folder, "in") == str(folder / "a.css")


def test_a_fifo_and_a_directory_do_not_hold_up_the_worker(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    for name in ("fifo", "sub"):
        with pytest.raises(HTTPError):
            Response.file(folder / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "sub", "out", "in", "\0", "\\", "~", "a.css", "secret"]) | st.text(max_size=3)
    )
)
def test_no_path_leaves_the_folder(folder: Path, parts: list[str]) -> None:
    try:
        joined = safe_join(folder, "/".join(parts))
    except HTTPError:
        return
    assert Path(joined).is_relative_to(folder)


def test_the_root_is_a_folder_too() -> None:
    assert safe_join("/", "etc") == os.path.realpath("/etc")


def test_a_download_is_named(call: Call, folder: Path) -> None:
    app = App([("/$", lambda request: Response.file(folder / "a.css", download="my.css", content_type="text/plain"))])
    answer = call(app)
    assert answer.get("Content-Disposition") == 'attachment; filename="my.css"'
    assert answer.get("Content-Type") == "text/plain"


def test_a_file_that_cannot_be_described_is_closed_again(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match="Content-Type"):
        Response.file(folder / "a.css", content_type="a\r\nb")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PNG", "image/png"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("a.tar.gz", "application/gzip"),
        ("a.wav", "audio/x-wav"),
    ],
)
def test_content_types_are_told_by_names(name: str, kind: str) -> None:
    assert content_type_of(name) == kind
