"""CGI parameters as a web server builds them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.client import cgi_params


def test_a_get_has_what_a_web_server_sends() -> None:
    params = cgi_params("GET", "/status/a%20b?x=1%202&y", {"Host": "Console.localhost:8080"}, script_name="/status")
    assert params == {
        "CONTENT_LENGTH": "0",
        "QUERY_STRING": "x=1%202&y",
        "REQUEST_URI": "/status/a%20b?x=1%202&y",
        "REDIRECT_STATUS": "200",
        "SCRIPT_NAME": "/status",
        "PATH_INFO": "/a b",
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "fastcore.client",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_SCHEME": "http",
        "SERVER_PORT": "8080",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_NAME": "console.localhost",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "0",
        "HTTP_HOST": "Console.localhost:8080",
    }


def test_a_url_gives_scheme_host_and_port() -> None:
    params = cgi_params("GET", "https://user:secret@[::1]/x?y#fragment")
    assert (params["HTTPS"], params["SERVER_PORT"], params["SERVER_NAME"]) == ("on", "443", "[::1]")
    assert (params["HTTP_HOST"], params["REQUEST_URI"], params["PATH_INFO"]) == ("[::1]", "/x?y", "/x")
    assert "secret" not in repr(params)


def test_document_root_gives_translated_paths() -> None:
    params = cgi_params("GET", "/status/x", script_name="/status", document_root="/srv/www/")
    assert params["PATH_TRANSLATED"] == "/srv/www/x"
    assert params["SCRIPT_FILENAME"] == "/srv/www/status"
    assert params["DOCUMENT_ROOT"] == "/srv/www"


def test_repeated_headers_are_joined_and_cookies_with_a_semicolon() -> None:
    headers = [("X-A", "1"), ("Cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2")]
    params = cgi_params("GET", "/", headers)
    assert params["HTTP_X_A"] == "1, 2"
    assert params["HTTP_COOKIE"] == "a=1; b=2"


def test_content_headers_have_no_prefix_and_the_given_length_wins() -> None:
    headers = {"Content-Type": "text/plain", "Content-Length": "7"}
    assert cgi_params("POST", "/", headers)["CONTENT_LENGTH"] == "7"
    params = cgi_params("POST", "/", headers, body_length=5)
    assert (params["CONTENT_LENGTH"], params["CONTENT_TYPE"]) == ("5", "text/plain")
    assert not any(name.startswith("HTTP_CONTENT") for name in params)


def test_proxy_header_never_becomes_http_proxy() -> None:
    assert "HTTP_PROXY" not in cgi_params("GET", "/", {"Proxy": "http://evil", "pRoXy": "x"})


@pytest.mark.parametrize("path", ["/statusx", "/other", "/"])
def test_path_outside_the_prefix_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="does not lie below"):
        cgi_params("GET", path, script_name="/status")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("GET /", "/"), "not an HTTP method"),
        (("GET", "status"), "begins with /"),
        (("GET", "/a\nb"), "control character"),
        (("GET", "/", {"A b": "x"}), "not the name"),
        (("GET", "/", {"A": "x\r\nB: y"}), "control character"),
        (("GET", "/", {"Host": "a b"}), "not the name of a host"),
    ],
)
def test_what_no_web_server_passes_on_is_refused(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        cgi_params(*arguments)  # type: ignore[arg-type]


def test_non_ascii_paths_are_encoded_and_arrive_as_bytes_in_latin_1() -> None:
    params = cgi_params("GET", "/é?q=ü")
    assert params["REQUEST_URI"] == "/%C3%A9?q=%C3%BC"
    assert params["PATH_INFO"].encode("latin-1").decode() == "/é"


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_any_target_and_headers_give_latin_1_text_or_value_error(target: str, headers: dict[str, str]) -> None:
    try:
        params = cgi_params("GET", f"/{target}", {f"X{name}": value for name, value in headers.items()})
    except ValueError:
        return
    for name, value in params.items():
        if not name.startswith("HTTP_"):
            value.encode("latin-1")
        assert "\n" not in value or name == "PATH_INFO"
