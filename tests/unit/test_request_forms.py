"""Submitted forms: URL-encoded and multipart, within limits, files in memory or in an unnamed temporary file."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any

import app_caller
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import App, Limits, Request
from framework.formdata import parse_content_type

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=frontier"


def part(name: str, content: bytes, filename: str | None = None, kind: str | None = None) -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--frontier\r\nContent-Disposition: form-data; name="{name}"{file}\r\n'
    if kind:
        head += f"Content-Type: {kind}\r\n"
    return head.encode() + b"\r\n" + content + b"\r\n"


END = b"--frontier--\r\n"


def show(request: Request) -> dict[str, Any]:
    return {
        "form": [list(pair) for pair in request.form.pairs()],
        "files": [
            [name, file.filename, file.content_type, file.size, file.read().decode("latin-1")[:20]]
            for name, file in request.files.pairs()
        ],
    }


def submit(
    body: bytes,
    content_type: str | None = MULTIPART,
    interface: str = "native",
    limits: Limits | None = None,
    **more: Any,
) -> app_caller.Answer:
    app = App([("/$", show)], limits=limits or Limits())
    return app_caller.call(app, method="POST", body=body, content_type=content_type, interface=interface, **more)


@pytest.mark.parametrize("interface", app_caller.INTERFACES)
def test_a_urlencoded_form(interface: str) -> None:
    answer = submit(b"a=1&a=2&text=%C3%A4+b%0D%0A&empty=", URLENCODED + "; charset=utf-8", interface)
    assert answer.json == {"form": [["a", "1"], ["a", "2"], ["text", "ä b\r\n"], ["empty", ""]], "files": []}


@pytest.mark.parametrize("interface", app_caller.INTERFACES)
def test_a_multipart_form(interface: str) -> None:
    body = (
        part("title", "Grüße".encode())
        + part("tag", b"a")
        + part("tag", b"b")
        + part("file", b"\x89PNG", "C:\\pictures\\straße.png", "image/png")
        + part("none", b"", "")
        + END
    )
    assert submit(body, MULTIPART, interface).json == {
        "form": [["title", "Grüße"], ["tag", "a"], ["tag", "b"]],
        "files": [["file", "straße.png", "image/png", 4, "\x89PNG"]],
    }


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_body_is_an_empty_form(method: str) -> None:
    answer = app_caller.call(App([("/$", show)]), method=method)
    assert answer.json == {"form": [], "files": []}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "text"),
    [
        (b"a=%FF", URLENCODED, 400, "not UTF-8"),
        (b"a=\xff", URLENCODED, 400, "not UTF-8"),
        (b"{}", "application/json", 415, "a submitted form"),
        (b"a=1", None, 415, "a submitted form"),
        (b"x", "multipart/form-data", 400, "no boundary"),
        (b"x", "multipart/form-data; boundary=" + "b" * 71, 400, "no boundary"),
        (b"", MULTIPART, 400, "malformed"),
        (b"no boundary here", MULTIPART, 400, "malformed"),
        (part("a", b"1"), MULTIPART, 400, "malformed"),
        (part("a", b"1") + b"--frontier", MULTIPART, 400, "malformed"),
        (part("a", b"\xff") + END, MULTIPART, 400, "'a' of the form is not UTF-8"),
        (b"--frontier\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, MULTIPART, 400, "malformed"),
        (b"--frontier\r\nContent-Disposition: attachment\r\n\r\nx\r\n" + END, MULTIPART, 400, "malformed"),
        (part("", b"1") + END, MULTIPART, 400, "a part has no name"),
        (part("n" * 1025, b"1") + END, MULTIPART, 400, "too long"),
        (part("a", b"1", "f" * 1025) + END, MULTIPART, 400, "too long"),
    ],
)
@pytest.mark.parametrize("interface", app_caller.INTERFACES)
def test_a_malformed_form_is_refused(
    body: bytes, content_type: str | None, status: int, text: str, interface: str
) -> None:
    answer = submit(body, content_type, interface)
    assert answer.status == status
    assert text in answer.text


@pytest.mark.parametrize("over", [-3, -2, -1, 0, 1, 2])
def test_the_line_break_after_the_last_boundary_may_come_in_a_read_of_its_own(over: int) -> None:
    head = part("file", b"", "f.bin")[:-2]
    size = 64 * 1024 + over - len(head) - len(b"\r\n" + END)
    answer = submit(head + b"x" * size + b"\r\n" + END)
    assert answer.status == 200
    assert answer.json["files"][0][3] == size


def fields(count: int) -> bytes:
    return b"".join(part(f"a{n}", b"1") for n in range(count)) + END


def files(count: int, size: int = 1) -> bytes:
    return b"".join(part(f"f{n}", b"x" * size, f"{n}.txt") for n in range(count)) + END


@pytest.mark.parametrize(
    ("limits", "fits", "over"),
    [
        (Limits(form_fields=3), fields(3), fields(4)),
        (Limits(files=2), files(2), files(3)),
        (Limits(file_bytes=50), files(1, 50), files(1, 51)),
        (Limits(body_bytes=40), part("a", b"x" * 40) + END, part("a", b"x" * 41) + END),
        (
            Limits(body_bytes=40),
            part("a", b"x" * 20) + part("b", b"x" * 20) + END,
            part("a", b"x" * 20) + part("b", b"x" * 21) + END,
        ),
        (Limits(upload_bytes=len(files(1, 50))), files(1, 50), files(1, 51)),
    ],
)
@pytest.mark.parametrize("interface", app_caller.INTERFACES)
def test_limits_of_multipart_hold_at_the_limit_and_one_over(
    limits: Limits, fits: bytes, over: bytes, interface: str
) -> None:
    assert submit(fits, limits=limits, interface=interface).status == 200
    answer = submit(over, limits=limits, interface=interface)
    assert answer.status == 413


def test_limits_of_urlencoded_forms_hold_at_the_limit_and_one_over() -> None:
    limits = Limits(form_fields=3, body_bytes=30)
    assert submit(b"a=1&b=2&c=3", URLENCODED, limits=limits).status == 200
    assert submit(b"a=1&b=2&c=3&d=4", URLENCODED, limits=limits).status == 413
    assert submit(b"a=" + b"x" * 28, URLENCODED, limits=limits).status == 200
    assert submit(b"a=" + b"x" * 29, URLENCODED, limits=limits).status == 413


def test_a_part_with_very_many_headers_is_refused() -> None:
    head = b"--frontier\r\n" + b"X-A: b\r\n" * 100 + b'Content-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    assert submit(head + END).status == 413


def test_a_long_file_goes_to_an_unnamed_temporary_file_and_is_closed_with_the_answer() -> None:
    kept: list[Any] = []

    def store(request: Request) -> str:
        for name in ("short", "long"):
            file = request.files[name].file
            kept.append(file)
            named = hasattr(file, "fileno") and not isinstance(file, io.BytesIO)
            kept.append(named and os.fstat(file.fileno()).st_nlink)
        return "stored"

    body = part("short", b"x" * 10, "s") + part("long", b"y" * 11, "l") + END
    app = App([("/$", store)], limits=Limits(file_memory_bytes=10))
    assert app_caller.call(app, method="POST", body=body, content_type=MULTIPART).text == "stored"
    short, in_memory, long, links = kept
    assert in_memory is False
    assert links == 0
    assert short.closed
    assert long.closed


def test_a_file_is_saved_under_a_new_name_only(tmp_path: Path) -> None:
    def store(request: Request) -> str:
        request.files["f"].save(tmp_path / "new")
        with pytest.raises(FileExistsError):
            request.files["f"].save(tmp_path / "new")
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(FileExistsError):
            request.files["f"].save(tmp_path / "link")
        return request.files["f"].filename

    body = part("f", b"content", "../../etc/passwd") + END
    answer = app_caller.call(App([("/$", store)]), method="POST", body=body, content_type=MULTIPART)
    assert answer.text == "passwd"
    assert (tmp_path / "new").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert not (tmp_path / "elsewhere").exists()


def test_a_field_that_is_missing_is_told() -> None:
    app = App([("/$", lambda request: request.form["title"])])
    answer = app_caller.call(app, method="POST", body=b"a=1", content_type=URLENCODED)
    assert answer.status == 400
    assert "The field 'title' is missing in the form." in answer.text


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(blacklist_characters='"\\\r\n%', codec="utf-8"), min_size=1, max_size=20),
            st.binary(max_size=50),
        ),
        max_size=5,
    )
)
def test_what_is_sent_as_files_arrives(sent: list[tuple[str, bytes]]) -> None:
    seen: list[tuple[str, bytes]] = []

    def collect(request: Request) -> None:
        seen.extend((name, file.read()) for name, file in request.files.pairs())

    body = b"".join(part(name, content, "f.bin") for name, content in sent if b"frontier" not in content) + END
    answer = app_caller.call(App([("/$", collect)]), method="POST", body=body, content_type=MULTIPART)
    assert answer.status == 204
    assert seen == sent


@given(st.binary(max_size=400), st.integers(0, 5))
def test_any_bytes_are_a_form_or_refused(noise: bytes, cut: int) -> None:
    good = part("a", b"1") + part("f", b"x" * 30, "x.txt") + END
    at = len(good) * cut // 5
    for body in (noise, good[:at] + noise + good[at:], good[:at]):
        assert submit(body).status in (200, 400, 413)


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        (None, ("", {})),
        ("Text/HTML; Charset=UTF-8", ("text/html", {"charset": "UTF-8"})),
        ('a/b; boundary="x y"; q', ("a/b", {"boundary": "x y"})),
    ],
)
def test_content_types_are_taken_apart(value: str | None, parsed: Any) -> None:
    assert parse_content_type(value) == parsed
