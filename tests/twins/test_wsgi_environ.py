"""The environment given to WSGI applications: equal on both twins whatever came before, and never shared."""

from __future__ import annotations

import pytest
import wire
from hypothesis import given
from hypothesis import strategies as st

from fastcore import implementation
from fastcore.limits import DEFAULT_LIMITS

PURE = implementation.twin("pure")
NAMES = st.sampled_from(
    [
        "REQUEST_METHOD",
        "HTTPS",
        "PATH_INFO",
        "SCRIPT_NAME",
        "HTTP_PROXY",
        "A",
        "B",
        "",
        "wsgi.version",
        "wsgi.url_scheme",
        "CONTENT_LENGTH",
    ]
)
VALUES = st.sampled_from(["GET", "-1", "on", "ON", "off", "1", "", "/a", "/b", "é"])
PARAMETERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def adapter(twin, **options):
    return twin.wsgi.WSGIAdapter(lambda environ, start_response: [], **options)


def request(twin, parameters):
    return twin.request.Request(1, 1, True, wire.pairs(parameters))


def shown(environ):
    """An environment without the objects that belong to one request."""
    assert environ["wsgi.input"].read() == b""
    environ["wsgi.errors"].write("")
    return {
        name: value for name, value in environ.items() if name not in ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper")
    }


@given(st.lists(PARAMETERS, max_size=30), st.booleans())
def test_any_sequence_of_requests_gives_what_the_specification_gives(twin, sequence, multiprocess):
    one = adapter(twin, multiprocess=multiprocess)
    for parameters in sequence:
        expected = shown(adapter(PURE, multiprocess=multiprocess).environ(request(PURE, parameters)))
        environ = one.environ(request(twin, parameters))
        assert shown(environ) == expected
        environ.clear()  # the application's to change: nobody else sees it
        environ["A"] = "changed"


def test_values_follow_the_request_where_the_names_are_the_same(twin):
    one = adapter(twin)
    seen = [
        one.environ(request(twin, [("A", str(number)), ("HTTPS", "on" if number % 2 else "off")]))
        for number in range(100)
    ]
    assert [environ["A"] for environ in seen] == [str(number) for number in range(100)]
    assert [environ["wsgi.url_scheme"] for environ in seen] == ["http", "https"] * 50


def test_many_shapes_of_requests_are_not_all_kept(twin):
    one = adapter(twin)
    for number in range(1000):
        assert one.environ(request(twin, [(f"NAME_{number}", "x" * 1000)]))[f"NAME_{number}"] == "x" * 1000
        assert one.environ(request(twin, [("A", str(number))]))["A"] == str(number)


@pytest.mark.parametrize("unknown", [[], [("CONTENT_LENGTH", "")], [("CONTENT_LENGTH", "-1")]])
def test_body_of_unknown_length_is_counted_or_said_to_end(twin, unknown):
    """Many applications read CONTENT_LENGTH bytes, others to the end where wsgi.input_terminated lets them."""
    one = adapter(twin)
    for _ in range(3):  # the second time from a template
        whole = request(twin, [("REQUEST_METHOD", "POST"), *unknown])
        whole.store_body(b"seven b", DEFAULT_LIMITS)
        whole.finish_body()
        environ = one.environ(whole)
        assert (environ["CONTENT_LENGTH"], environ["wsgi.input_terminated"]) == ("7", True)
        assert environ["wsgi.input"].read() == b"seven b"
        coming = request(twin, [("REQUEST_METHOD", "POST"), *unknown])
        coming.stream_body(twin.stream.StreamBody(-1, 1000))
        environ = one.environ(coming)
        assert ("CONTENT_LENGTH" in environ, environ["wsgi.input_terminated"]) == (False, True)
        declared = request(twin, [("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "9")])
        assert one.environ(declared)["CONTENT_LENGTH"] == "9"
        bodiless = [("REQUEST_METHOD", "GET"), *unknown]
        if unknown and unknown[0][1] == "":
            assert one.environ(request(twin, bodiless))["CONTENT_LENGTH"] == ""


def test_adapter_takes_requests_only(twin):
    with pytest.raises((TypeError, AttributeError)):
        adapter(twin).environ(None)


def test_environment_needs_a_request(twin):
    with pytest.raises((TypeError, AttributeError)):
        adapter(twin).environ(None)


@pytest.mark.parametrize("empty", ["", None])
def test_file_wrapper_ends_at_the_end_of_any_file(twin, empty):
    """A text file's end is not b""."""

    class File:
        def read(self, size):
            return empty

    assert list(twin.wsgi.FileWrapper(File())) == []
