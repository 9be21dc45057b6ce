"""The servers' own parsers take the generated configuration as it was meant, whatever the site's values hold."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from framework.frontends.check import check_frontend, find_program
from framework.frontends.lighttpd import generate, quote
from framework.frontends.servers import SERVERS
from framework.site.schema import Backend, Host, Listen, Mount, Site

PROGRAM = find_program("lighttpd")
if PROGRAM is None or find_program("nginx") is None:
    pytest.skip("lighttpd or nginx is not installed (make test installs it)", allow_module_level=True)

HOST = Host("plain.localhost", ("alias.localhost",), default=True, static=Path("/srv/static"), headers={"X-One": "1"})


def make_site(host: Host) -> Site:
    return Site(
        name="syntax",
        file=Path("/srv/site.toml"),
        listen=Listen("127.0.0.1", 8080),
        run_directory=Path("/run/syntax"),
        state_directory=Path("/var/lib/syntax"),
        hosts=(host, Host("second.localhost", mounts=(Mount("second.localhost", "", "one"),))),
        backends={"one": Backend("one", "one:app", "/one", "syntax-one", "syntax-one")},
    )


def parsed(folder: Path, text: str) -> str:
    """The configuration as lighttpd prints it after parsing."""
    file = folder / "lighttpd.conf"
    file.write_text(text)
    done = subprocess.run(
        [str(PROGRAM), "-p", "-f", str(file)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shape(printed: str) -> list[str]:
    """The printed directives without their values."""
    return [line.split("=")[0].split('"')[0].strip() for line in printed.splitlines() if "var." not in line]


AWKWARD = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
    st.text(st.sampled_from('"\\#x${}()=>%1 /.|~'), max_size=30),
)


@settings(max_examples=60)
@given(static=AWKWARD, header=AWKWARD, prefix=st.from_regex(r"[A-Za-z0-9._~-]{1,20}", fullmatch=True))
def test_lighttpd_reads_each_value_back(
    tmp_path_factory: pytest.TempPathFactory, static: str, header: str, prefix: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = Path("/srv", static.replace("/", "") + "x")
    assume(not header.endswith("\\"))
    plain = replace(HOST, mounts=(Mount(HOST.name, "/one", "one"),))
    awkward = replace(HOST, static=path, headers={"X-One": header}, mounts=(Mount(HOST.name, f"/{prefix}", "one"),))
    printed = parsed(folder, generate(make_site(awkward)))
    assert quote(f"{path}/") in printed
    assert quote(header) in printed
    assert quote(f"/{prefix}") in printed
    assert shape(printed) == shape(parsed(folder, generate(make_site(plain))))


@settings(max_examples=30)
@given(static=AWKWARD, header=AWKWARD, prefix=st.from_regex(r"[A-Za-z0-9._~-]{1,20}", fullmatch=True))
def test_nginx_accepts_each_value(
    tmp_path_factory: pytest.TempPathFactory, static: str, header: str, prefix: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = Path("/srv", static.replace("/", "") + "x")
    site = make_site(replace(HOST, static=path, headers={"X-One": header}, mounts=(Mount("", f"/{prefix}", "one"),)))
    assert check_frontend(replace(site, frontend="nginx", run_directory=folder)) == []


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("count", [1, 256])
def test_many_hosts_are_accepted(count: int, server: str) -> None:
    hosts = tuple(
        replace(
            HOST,
            name=f"h{number}.localhost",
            aliases=(),
            default=number == 0,
            mounts=(Mount("", f"/p{number}", "one"),),
        )
        for number in range(count)
    )
    assert check_frontend(replace(make_site(HOST), hosts=hosts, frontend=server)) == []
