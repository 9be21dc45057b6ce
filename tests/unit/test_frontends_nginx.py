"""nginx's configuration as text: nothing of a site can become a directive or a variable. (What it does: tests/live.)"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from framework.frontends.nginx import MAX_TOKEN_BYTES, generate, literal, quote
from framework.site.schema import Backend, Foreign, Host, Listen, Mount, Site

PLAIN = Host(
    name="plain.localhost",
    aliases=("alias.localhost",),
    default=True,
    static=Path("/srv/static"),
    mounts=(Mount("plain.localhost", "/one", "one"),),
    home="/one/",
    headers={"X-One": "1"},
)
SPECIAL = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}


def make_site(host: Host, *, workers: int = 1) -> Site:
    return Site(
        name="unit",
        file=Path("/srv/site.toml"),
        listen=Listen("127.0.0.1", 8080),
        run_directory=Path("/run/unit"),
        state_directory=Path("/var/lib/unit"),
        hosts=(host, Host("other.localhost", ("other",), mounts=(Mount("other.localhost", "", "one"),))),
        backends={"one": Backend("one", "one:app", "/one", "unit-one", "unit-one", workers)},
    )


def tokens(text: str) -> tuple[str, list[str]]:
    """The text as nginx takes it apart: what stands outside of strings and comments; the strings."""
    outside, strings, position = "", [], 0
    while position < len(text):
        if text[position] == "#":
            position = text.find("\n", position) % (len(text) + 1)
        elif text[position] == '"':
            position += 1
            value = ""
            while text[position] != '"':
                if text[position] == "\\":
                    position += 1
                    value += SPECIAL.get(text[position], "\\" + text[position])
                else:
                    value += text[position]
                position += 1
            strings.append(value)
            outside += '"'
        else:
            outside += text[position]
        position += 1
    return outside, strings


@given(st.one_of(st.text(), st.text(st.sampled_from('"\\ntr#x${}'))))
def test_a_string_is_read_back_as_it_was_or_refused(text: str) -> None:
    try:
        quoted = quote(text)
    except ValueError:
        assert any(ord(character) < 32 or ord(character) == 127 for character in text)
        return
    assert tokens(quoted) == ('"', [text])
    assert tokens(literal(text)) == ('"', [text.replace("$", "${dollar}")])


@pytest.mark.parametrize("text", ["x" * (MAX_TOKEN_BYTES - 2), "é" * (MAX_TOKEN_BYTES // 2 - 1)])
def test_the_longest_string_is_taken_and_a_longer_one_refused(text: str) -> None:
    assert quote(text) == f'"{text}"'
    with pytest.raises(ValueError, match="longer than 4000 bytes"):
        quote(text + "x")


ANYTHING = st.one_of(st.text(), st.text(st.sampled_from('"\\#x${}();>\n\r\0 /.|%1')))


@given(name=ANYTHING, alias=ANYTHING, static=ANYTHING, header=ANYTHING, home=ANYTHING)
def test_nothing_of_a_site_becomes_a_directive(name: str, alias: str, static: str, header: str, home: str) -> None:
    assume(home and "\0" not in static)
    host = replace(
        PLAIN, name=name, aliases=(alias,), static=Path("/srv", static), headers={"X-One": header}, home=home
    )
    try:
        text = generate(make_site(host))
    except ValueError:
        return
    outside, strings = tokens(text)
    assert outside == tokens(generate(make_site(PLAIN)))[0]
    for value in (name, alias):
        assert value in strings
    for value in (header, home, f"{Path('/srv', static)}/"):
        assert value.replace("$", "${dollar}") in strings


@given(certificate=ANYTHING, root=ANYTHING, name=ANYTHING)
def test_nothing_of_tls_redirects_and_foreign_back_ends_becomes_one(certificate: str, root: str, name: str) -> None:
    assume("\0" not in certificate + root)

    def text_of(name: str, certificate: str, root: str) -> str:
        host = replace(
            PLAIN,
            name=name,
            certificate=Path("/srv", certificate),
            key=Path("/srv", certificate),
            https_redirect=True,
            redirect_aliases=True,
            hsts_max_age=1,
            robots=False,
            mounts=(*PLAIN.mounts, Mount(PLAIN.name, "/php", "php")),
        )
        foreign = {"php": Foreign("php", Path("/run/php.sock"), "/php", Path("/srv", root))}
        tls = (Listen("127.0.0.1", 8443, True),)
        return generate(replace(make_site(host), also_listen=tls, foreign=foreign))

    try:
        text = text_of(name, certificate, root)
    except ValueError:
        return
    outside, strings = tokens(text)
    assert outside == tokens(text_of(PLAIN.name, "a", "b"))[0]
    assert str(Path("/srv", certificate)) in strings
    assert str(Path("/srv", root)).replace("$", "${dollar}") in strings


def test_the_same_site_gives_the_same_text() -> None:
    assert generate(make_site(PLAIN)) == generate(make_site(PLAIN))


def test_the_user_is_left_to_whoever_starts_it() -> None:
    assert not any(line.strip().startswith("user ") for line in generate(make_site(PLAIN)).splitlines())


@pytest.mark.parametrize(
    ("listen", "written"),
    [
        (Listen("127.0.0.1", 80), "127.0.0.1:80"),
        (Listen("::1", 8080), "[::1]:8080"),
        (Listen("0.0.0.0", 1), "0.0.0.0:1"),
    ],
)
def test_the_address(listen: Listen, written: str) -> None:
    text = generate(replace(make_site(PLAIN), listen=listen))
    assert f"listen {written} default_server;\n" in text
    assert f"listen {written};\n" in text


def test_paths_may_be_chosen() -> None:
    text = generate(make_site(PLAIN), pid_file=Path("/a/pid"), upload_directory=Path("/b"))
    assert 'pid "/a/pid";' in text
    assert 'client_body_temp_path "/b/body";' in text


def test_connections_to_back_ends_are_not_kept_as_a_reload_would_lose_requests_on_them() -> None:
    for workers in (1, 2):
        text = generate(make_site(PLAIN, workers=workers))
        assert "fastcgi_keep_conn" not in text
        assert "keepalive " not in text
