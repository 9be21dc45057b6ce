"""Hosts, addresses, TLS and foreign back ends in the site file: what is taken, what is refused and how that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.frontends.pages import DEFAULT_TEXT, pages_of, robots_text
from framework.site import Site, SiteError, load
from framework.site.schema import Listen
from framework.site.tree import SiteTree, TreeHost
from framework.site.values import Refused, check_alias, check_fastcgi, check_index, check_suffix

HEAD = '[site]\nname = "hosts"\n'
BACKEND = '[backend.one]\napplication = "one:app"\n'
PAIR = 'certificate = "a.pem"\nkey = "a.key"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("static", "scripts", "static/below"):
        (tmp_path / name).mkdir()
    return tmp_path


def read(folder: Path, text: str) -> Site:
    (folder / "site.toml").write_text(text)
    return load(folder)


def mistakes(folder: Path, text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(SiteError) as caught:
        read(folder, text)
    return [(problem.line, str(problem)) for problem in caught.value.problems if problem.level == "error"]


def host(more: str = "", name: str = "a.localhost") -> str:
    return f'[[host]]\nname = "{name}"\nbackends = ["one"]\n{more}'


# -- addresses


def test_several_addresses_in_clear_and_by_tls(folder: Path) -> None:
    head = HEAD + 'listen = ["*:80", "[::]:80"]\nlisten_tls = ["*:443", "127.0.0.1:8443"]\n'
    site = read(folder, head + host(PAIR) + BACKEND)
    assert site.listen == Listen("0.0.0.0", 80)
    assert site.also_listen == (Listen("::", 80), Listen("0.0.0.0", 443, True), Listen("127.0.0.1", 8443, True))
    assert site.tls_port == 443


def test_tls_alone_and_the_default_address(folder: Path) -> None:
    alone = read(folder, HEAD + 'listen = []\nlisten_tls = "127.0.0.1:8443"\n' + host(PAIR) + BACKEND)
    assert alone.addresses == (Listen("127.0.0.1", 8443, True),)
    both = read(folder, HEAD + 'listen_tls = "127.0.0.1:8443"\n' + host(PAIR) + BACKEND)
    assert both.addresses == (Listen("127.0.0.1", 8080), Listen("127.0.0.1", 8443, True))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('listen = ["*:80", "127.0.0.1:80"]', "127.0.0.1:80 and 0.0.0.0:80 are in each other's way"),
        ('listen = ["[::1]:80", "[::1]:80"]', "[::1]:80 and [::1]:80 are in each other's way"),
        ("listen = []", "the site listens nowhere"),
        ('listen = ["127.0.0.1"]', "has no port"),
        ("listen = 80", "80 is not text in quotes"),
        ("listen = [80]", "80 in the list is not text in quotes"),
        ("listen = [" + ", ".join(f'"127.0.0.1:{port}"' for port in range(1, 18)) + "]", "more than 16 addresses"),
    ],
)
def test_addresses_that_cannot_be(folder: Path, lines: str, said: str) -> None:
    assert [(line, said in text) for line, text in mistakes(folder, HEAD + lines + "\n" + host() + BACKEND)] == [
        (3, True)
    ]


# -- names


def test_wildcards_are_aliases(folder: Path) -> None:
    site = read(folder, HEAD + host('aliases = ["*.Example.ORG", "*.xn--bcher-kva.example"]\n') + BACKEND)
    assert site.hosts[0].aliases == ("*.example.org", "*.xn--bcher-kva.example")
    ((line, text),) = mistakes(folder, HEAD + host(name="*.example.org") + BACKEND)
    assert line == 4
    assert "aliases may have them" in text


@pytest.mark.parametrize(
    "text", ["*", "*.", "**.a", "a.*.b", "*a.b", "*.*.a", "*.127.0.0.1", "*.[::1]", "*.a b", "*.a;b"]
)
def test_what_is_no_wildcard(text: str) -> None:
    with pytest.raises(Refused):
        check_alias(text)


@given(st.one_of(st.text(), st.text(st.sampled_from("*.ab-\"';{}$\\\n")), st.from_regex(r"\*\.[a-z.]{1,20}")))
def test_an_alias_that_is_taken_has_plain_characters_alone(text: str) -> None:
    try:
        alias = check_alias(text)
    except Refused:
        return
    assert set(alias.removeprefix("*.")) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-[]:")


def test_one_wildcard_belongs_to_one_host(folder: Path) -> None:
    wild = 'aliases = ["*.example.org"]\n'
    ((line, text),) = mistakes(folder, HEAD + host(wild) + host(wild, "b.localhost") + BACKEND)
    assert line == 10
    assert "*.example.org is already a name of the host a.localhost" in text


def test_the_tree_finds_a_name_then_the_longest_wildcard_then_the_default() -> None:
    hosts = [
        TreeHost(("default",), True, ()),
        TreeHost(("a", "*.example.org", "*.c.b.example.org"), False, ()),
        TreeHost(("b", "*.b.example.org", "x.c.b.example.org"), False, ()),
    ]
    tree = SiteTree(hosts, port=80, tables={})
    wanted = {
        "example.org": "default",
        "www.example.org": "a",
        "www.example.org.:8080": "a",
        "b.example.org": "a",
        "www.b.example.org": "b",
        "x.www.b.example.org": "b",
        "y.c.b.example.org": "a",
        "x.c.b.example.org": "b",
        "wwwexample.org": "default",
        ".example.org": "default",
    }
    found = {name: tree.host_of(name) for name in wanted}
    assert {name: each.names[0] for name, each in found.items() if each is not None} == wanted
    assert SiteTree.from_spec(tree.to_spec()).host_of("y.c.b.example.org") == hosts[1]


# -- TLS


def test_a_certificate_brings_https(folder: Path) -> None:
    site = read(folder, HEAD + 'listen_tls = "*:443"\n' + host(PAIR + "hsts_max_age = 60\n") + BACKEND)
    found = site.hosts[0]
    assert (found.certificate, found.key) == (folder / "a.pem", folder / "a.key")
    assert (found.https_redirect, found.hsts_max_age) == (True, 60)


@pytest.mark.parametrize(
    ("tls", "more", "line", "said"),
    [
        ("", PAIR, 6, "the site listens nowhere for TLS"),
        ('listen_tls = "*:443"\n', "", 3, "no host has one"),
        ('listen_tls = "*:443"\n', 'certificate = "a.pem"\n', 7, "takes the key key too"),
        ("", 'key = "a.key"\n', 6, "takes the key certificate too"),
        ("", "https_redirect = true\n", 6, "takes a certificate"),
        ("", "hsts_max_age = 5\n", 6, "takes a certificate"),
        ('listen_tls = "*:443"\n', PAIR + "hsts_max_age = -1\n", 9, "out of range"),
        ('listen_tls = "*:443"\n', PAIR.replace("a.key", "a$b.key"), 8, "has a $ in its path"),
        ('listen_tls = "*:443"\n', PAIR.replace("a.key", "a\\nb.key"), 8, "control characters"),
    ],
)
def test_tls_that_cannot_be(folder: Path, tls: str, more: str, line: int, said: str) -> None:
    found = mistakes(folder, HEAD + tls + host(more) + BACKEND)
    assert (line, True) in [(at, said in text) for at, text in found], found


# -- foreign back ends


def test_a_foreign_back_end(folder: Path) -> None:
    php = '[backend.php]\nfastcgi = "unix:/run/php/php-fpm.sock"\nroot = "scripts"\n'
    tcp = '[backend.tcp]\nfastcgi = "127.0.0.1:9000"\nprefix = "/t"\n'
    site = read(folder, HEAD + host().replace('["one"]', '["one", "php", "tcp"]') + BACKEND + php + tcp)
    assert list(site.backends) == ["one"]
    assert site.foreign["php"].address == Path("/run/php/php-fpm.sock")
    assert site.foreign["php"].root == folder / "scripts"
    assert site.foreign["tcp"].address == Listen("127.0.0.1", 9000)
    assert [mount.prefix for mount in site.mounts] == ["/one", "/php", "/t"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('fastcgi = "php-fpm.sock"', "has no port"),
        ('fastcgi = "unix:php-fpm.sock"', "not the path of a socket"),
        ('fastcgi = "unix:/run/../x.sock"', "not the path of a socket"),
        ('fastcgi = "*:9000"', "every address"),
        ('fastcgi = "127.0.0.1:9000"\napplication = "one:app"', "keep one of them"),
        ('fastcgi = "127.0.0.1:9000"\nworkers = 2', "unknown key"),
        ('fastcgi = "127.0.0.1:9000"\nroot = "static"', "lie within each other"),
        ('fastcgi = "127.0.0.1:9000"\nroot = "static/below"', "lie within each other"),
        ('fastcgi = "127.0.0.1:9000"\nroot = "nowhere"', "there is no folder"),
        ('fastcgi = "127.0.0.1:9000"\nroot = "scripts"\nindex = "index.html"', "does not end in .php"),
        ('fastcgi = "127.0.0.1:9000"\nroot = "scripts"\nsuffix = ".p;p"', "not the end of a file's name"),
        ('fastcgi = "127.0.0.1:9000"\nroot = "scripts"\nindex = ".x.php"', "not the name of a script"),
    ],
)
def test_foreign_back_ends_that_cannot_be(folder: Path, lines: str, said: str) -> None:
    text = HEAD + host('static = "static"\n').replace('["one"]', '["php"]') + f"[backend.php]\n{lines}\n"
    assert any(said in text for _, text in mistakes(folder, text))


@given(st.one_of(st.text(), st.text(st.sampled_from("/.:unix0127\"'${};\\\n ")), st.from_regex(r"unix:/[^x]{1,20}")))
def test_an_address_a_suffix_and_an_index_have_plain_characters_alone(text: str) -> None:
    for check in (check_fastcgi, check_suffix, check_index):
        try:
            value = str(check(text))
        except Refused:
            continue
        assert not set(value) & set("\"'${};\\\n\r\t #()|*?")


# -- what the front end shows itself


def robots(folder: Path, host_lines: str, **marks: bool) -> str:
    backends = "".join(
        f'[backend.{name}]\napplication = "one:app"\nrobots = {str(mark).lower()}\n' for name, mark in marks.items()
    )
    site = read(folder, HEAD + f'[[host]]\nname = "a.localhost"\n{host_lines}\n' + backends)
    return robots_text(site, site.hosts[0])


def test_robots_txt_is_what_is_marked(folder: Path) -> None:
    both = 'backends = ["one", "two"]'
    assert robots(folder, both, one=True, two=True) == ""
    assert robots(folder, both, one=True, two=False) == "User-agent: *\nDisallow: /two$\nDisallow: /two/\n"
    assert robots(folder, both + "\nrobots = false", one=True, two=True) == "User-agent: *\nDisallow: /\n"
    root = 'backends = { one = "/", two = "/two" }\nstatic = "static"'
    text = robots(folder, root, one=False, two=True)
    assert text.splitlines()[1:] == [
        "Allow: /two$",
        "Allow: /two/",
        "Allow: /static$",
        "Allow: /static/",
        "Disallow: /",
    ]


def test_a_robots_txt_of_the_hosts_own_stays(folder: Path) -> None:
    lines = 'static = "static"\nstatic_prefix = "/"\nrobots = false'
    assert robots(folder, lines) != ""
    (folder / "static/robots.txt").write_text("mine")
    assert robots(folder, lines) == ""


def test_the_page_for_a_back_end_that_is_down(folder: Path) -> None:
    (folder / "down.html").write_text("own")
    site = read(folder, HEAD + host() + host('unavailable = "down.html"\n', "b.localhost") + BACKEND)
    pages = dict(pages_of(site))
    assert set(pages) == {"unavailable-a.localhost.html", "unavailable-b.localhost.html"}
    assert DEFAULT_TEXT.encode() in pages["unavailable-a.localhost.html"]
    assert pages["unavailable-b.localhost.html"] == b"own"


def test_a_home_that_leads_nowhere_is_warned_of(folder: Path) -> None:
    site = read(folder, HEAD + host('home = "/two/"\n') + BACKEND)
    (remark,) = site.remarks
    assert (remark.level, remark.line, remark.reason) == ("warning", 6, "/two/ leads nowhere")
