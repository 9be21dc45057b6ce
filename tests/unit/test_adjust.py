"""`fastcore.adjust`: the path of an application, whatever its front end made of it; its errors in the log."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore import serve
from fastcore.adjust import AtPath, ErrorsToLog, check_script_name, split_path

SEGMENT = st.text(st.characters(codec="latin-1", exclude_characters="/"), max_size=5)
PATH = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda segments: "/" + "/".join(segments))
MOUNT = st.lists(st.sampled_from(["shop", "a", "a b", "sh"]), max_size=2).map(
    lambda parts: "".join("/" + part for part in parts)
)


def divisions(whole: str) -> list[dict[str, str]]:
    """All ways in which front ends tell one path."""
    address = quote(whole.encode("latin-1")) + "?q=1"
    ways = [{"SCRIPT_NAME": whole[:at], "PATH_INFO": whole[at:]} for at in range(len(whole) + 1)]
    ways += [{"SCRIPT_NAME": whole}, {"PATH_INFO": whole}, {"SCRIPT_NAME": whole, "PATH_INFO": whole}]
    return [way | {"REQUEST_URI": address} for way in ways]


@given(MOUNT, PATH)
def test_every_division_of_a_path_comes_to_the_same(mount: str, path: str) -> None:
    for environ in divisions(mount + path):
        assert split_path(environ, mount) == (mount, path)


@given(MOUNT.filter(bool), PATH)
def test_a_path_outside_is_not_taken(mount: str, path: str) -> None:
    if path == mount or path.startswith(mount + "/"):
        return
    for environ in divisions(path):
        assert split_path(environ, mount) is None


@given(st.dictionaries(st.sampled_from(["SCRIPT_NAME", "PATH_INFO", "REQUEST_URI"]), st.text(max_size=12)), MOUNT)
def test_nonsense_never_fails(environ: dict[str, str], mount: str) -> None:
    latin = {key: value.encode().decode("latin-1") for key, value in environ.items()}
    found = split_path(latin, mount)
    assert found is None or (found[0] == mount and found[1][:1] in ("", "/"))


@pytest.mark.parametrize(
    ("environ", "mount", "expected"),
    [
        ({"SCRIPT_NAME": "/shop"}, "/shop", ("/shop", "")),
        ({"SCRIPT_NAME": "/shop/", "PATH_INFO": ""}, "/shop", ("/shop", "/")),
        ({"PATH_INFO": "/shopping"}, "/shop", None),
        ({"PATH_INFO": "/a/b"}, "/shop", None),
        ({"SCRIPT_NAME": "/a", "PATH_INFO": "/a", "REQUEST_URI": "/a/a"}, "/a", ("/a", "/a")),
        ({"SCRIPT_NAME": "/a", "PATH_INFO": "/a", "REQUEST_URI": "/a?x=/a/a"}, "/a", ("/a", "")),
        ({"SCRIPT_NAME": "/shop/a%2Fb", "PATH_INFO": ""}, "/shop", ("/shop", "/a%2Fb")),  # decoded once, not again
        ({"SCRIPT_NAME": "/caf\u00c3\u00a9/x"}, "/café", ("/caf\u00c3\u00a9", "/x")),
        ({}, "", ("", "")),
    ],
)
def test_examples(environ: dict[str, str], mount: str, expected: tuple[str, str] | None) -> None:
    assert split_path(environ, mount) == expected


def test_an_application_outside_of_its_path_is_not_called() -> None:
    called: list[tuple[str, str]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        called.append((environ["SCRIPT_NAME"], environ["PATH_INFO"]))
        start_response("200 OK", [])
        return [b"shop"]

    said: list[str] = []
    mounted = AtPath(application, "/shop")
    assert mounted({"PATH_INFO": "/other"}, lambda status, headers: said.append(status)) == [b"404 Not Found\n"]
    assert mounted({"PATH_INFO": "/shop/7"}, lambda status, headers: said.append(status)) == [b"shop"]
    assert (called, said) == ([("/shop", "/7")], ["404 Not Found", "200 OK"])


def test_errors_are_lines_of_the_log() -> None:
    lines: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        errors = environ["wsgi.errors"]
        print("one", file=errors)
        errors.writelines(["two\nthree\n", "\n"])
        errors.flush()
        with pytest.raises(TypeError, match="takes str"):
            errors.write(b"four")
        return []

    ErrorsToLog(application, lines.append)({}, None)
    assert lines == ["one", "two", "three"]


@pytest.mark.parametrize("name", ["shop", "/shop/", "/", "/a\nb"])
def test_a_mount_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="script_name is"):
        check_script_name(name)
    with pytest.raises(ValueError, match="script_name is"):
        serve(lambda *_: [], "unix:/nowhere/x", script_name=name)


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="for WSGI applications"):
        serve(lambda _: b"", "unix:/nowhere/x", interface="native", script_name="/shop")
    with pytest.raises(ValueError, match="errors is 'stderr' or 'log'"):
        serve(lambda *_: [], "unix:/nowhere/x", errors="nowhere")  # type: ignore[arg-type]
