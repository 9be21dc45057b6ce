"""lighttpd's configuration as text: nothing of a site can become a directive. (What it does: tests/live.)"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from framework.frontends.lighttpd import generate, quote
from framework.site.schema import Backend, Foreign, Host, Listen, Mount, Site


def make_site(host: Host, *, name: str = "unit", run: str = "/run/unit") -> Site:
    return Site(
        name=name,
        file=Path("/srv/site.toml"),
        listen=Listen("127.0.0.1", 8080),
        run_directory=Path(run),
        state_directory=Path("/var/lib/unit"),
        hosts=(host, Host("other.localhost", ("other",), mounts=(Mount("other.localhost", "", "one"),))),
        backends={"one": Backend("one", "one:app", "/one", "unit-one", "unit-one")},
    )


PLAIN = Host(
    name="plain.localhost",
    aliases=("alias.localhost",),
    default=True,
    static=Path("/srv/static"),
    mounts=(Mount("plain.localhost", "/one", "one"),),
    home="/one/",
    headers={"X-One": "1"},
)


def tokens(text: str) -> tuple[str, list[str]]:
    """The text as lighttpd's tokenizer takes it apart: what stands outside of strings and comments; the strings."""
    outside, strings, position = "", [], 0
    while position < len(text):
        if text[position] == "#":
            position = text.find("\n", position) % (len(text) + 1)
        elif text[position] == '"':
            position += 1
            value = ""
            while text[position] != '"':
                if text.startswith('\\"', position):
                    position += 1
                value += text[position]
                position += 1
            strings.append(value)
            outside += '"'
        else:
            outside += text[position]
        position += 1
    return outside, strings


@given(st.text())
def test_a_string_is_read_back_as_it_was_or_refused(text: str) -> None:
    try:
        quoted = quote(text)
    except ValueError:
        assert any(ord(character) < 32 or ord(character) == 127 for character in text) or text.endswith("\\")
        return
    assert tokens(quoted) == ('"', [text])


@given(st.text(st.sampled_from('"\\#x${}\n')), st.text(st.sampled_from('"\\#x${}\n')))
def test_a_string_ends_where_it_should(first: str, second: str) -> None:
    try:
        text = f"( {quote(first)} => {quote(second)} ) # comment"
    except ValueError:
        return
    assert tokens(text) == ('( " => " ) ', [first, second])


ANYTHING = st.one_of(st.text(), st.text(st.sampled_from('"\\#x${}()=>\n\r\0 /.|%1')))


@given(
    name=ANYTHING, alias=ANYTHING, static=ANYTHING, prefix=ANYTHING, header=ANYTHING, site_name=ANYTHING, home=ANYTHING
)
def test_nothing_of_a_site_becomes_a_directive(
    name: str, alias: str, static: str, prefix: str, header: str, site_name: str, home: str
) -> None:
    assume(home and "\0" not in static)
    host = replace(
        PLAIN,
        name=name,
        aliases=(alias,),
        static=Path("/srv", static),
        mounts=(Mount(name, f"/{prefix}", "one"),),
        headers={"X-One": header},
        home=home,
    )
    try:
        text = generate(make_site(host, name=site_name))
    except ValueError:
        return
    outside, strings = tokens(text)
    assert outside == tokens(generate(make_site(PLAIN)))[0]
    for value in (name, f"/{prefix}", header, home, f"{Path('/srv', static)}/"):
        assert value in strings


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
    assert f"{Path('/srv', root)}/" in strings


def test_the_same_site_gives_the_same_text() -> None:
    assert generate(make_site(PLAIN)) == generate(make_site(PLAIN))


def test_the_user_is_left_to_whoever_starts_it() -> None:
    directives = {line.split("=")[0].strip() for line in generate(make_site(PLAIN)).splitlines() if "=" in line}
    assert not {"server.username", "server.groupname", "server.errorlog", "server.chroot"} & directives


@pytest.mark.parametrize(
    ("listen", "bind", "port"),
    [
        (Listen("127.0.0.1", 80), "127.0.0.1", 80),
        (Listen("::1", 8080), "[::1]", 8080),
        (Listen("0.0.0.0", 1), "0.0.0.0", 1),
    ],
)
def test_the_address(listen: Listen, bind: str, port: int) -> None:
    text = generate(replace(make_site(PLAIN), listen=listen))
    assert f'\nserver.bind = "{bind}"\nserver.port = {port}\n' in text


def test_paths_may_be_chosen() -> None:
    text = generate(make_site(PLAIN), pid_file=Path("/a/pid"), upload_directory=Path("/b"))
    assert 'server.pid-file = "/a/pid"' in text
    assert 'server.upload-dirs = ( "/b" )' in text
