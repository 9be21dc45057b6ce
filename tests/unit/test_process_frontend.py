"""What is made for a front end's next configuration: it comes into use as a whole, or nothing of it stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from framework.frontends.pages import PageError, read_page
from framework.process.frontend import Check, FrontendError, write_configuration
from framework.process.parts import Part, frontend_privileges
from framework.process.runfiles import RunDirectory
from framework.site import Site, load
from framework.site.certificates import make_self_signed

TEXT = """\
[site]
name = "example"
run_directory = "{folder}/run"
state_directory = "{folder}/state"
listen = "127.0.0.1:8080"
listen_tls = "127.0.0.1:8443"
[[host]]
name = "a.localhost"
certificate = "{pair}.crt"
key = "{pair}.key"
unavailable = "down.html"
compression = false
backends = ["web"]
[backend.web]
application = "web:app"
"""


def part_of(site: Site, program: str) -> Part:
    return Part("lighttpd", "frontend", (program,), frontend_privileges(site), "/", {}, str(site.listen))


def read(folder: Path, pair: str, page: str) -> Site:
    (folder / "site.toml").write_text(TEXT.format(folder=folder, pair=pair))
    (folder / "down.html").write_text(page)
    (folder / "down.html").chmod(0o644)
    if not (folder / f"{pair}.crt").exists():
        make_self_signed(folder / f"{pair}.crt", folder / f"{pair}.key", ["a.localhost"])
    return load(folder)


def files(site: Site) -> dict[str, bytes]:
    found = (each for each in site.run_directory.rglob("*") if each.is_file())
    return {str(each.relative_to(site.run_directory)): each.read_bytes() for each in found}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates")
def test_a_configuration_that_is_refused_leaves_all_as_it_was(tmp_path: Path) -> None:
    good, bad = shutil.which("true") or "", shutil.which("false") or ""
    site = read(tmp_path, "one", "the first page")
    directory = RunDirectory(site)
    directory.take()
    assert write_configuration(site, part_of(site, good))
    before = files(site)
    assert sum(name.startswith("tls/") for name in before) == 2
    assert before["pages/unavailable-a.localhost.html"] == b"the first page"

    fresh = read(tmp_path, "two", "the second page")
    with pytest.raises(FrontendError, match="refuses the configuration"):
        write_configuration(fresh, part_of(fresh, bad))
    assert files(site) == before
    with pytest.raises(FrontendError, match="cannot be started"):
        write_configuration(fresh, part_of(fresh, str(tmp_path / "nothing")))
    assert files(site) == before
    Check(fresh, part_of(fresh, good)).drop()
    assert files(site) == before

    assert write_configuration(fresh, part_of(fresh, good))
    after = files(site)
    assert after["pages/unavailable-a.localhost.html"] == b"the second page"
    keys = [{name for name in each if name.startswith("tls/")} for each in (before, after)]
    assert len(keys[1]) == 2
    assert not keys[0] & keys[1]
    (tmp_path / "down.html").write_text("the third page")
    assert not write_configuration(fresh, part_of(fresh, good))
    assert files(site)["pages/unavailable-a.localhost.html"] == b"the third page"
    site.frontend_draft.touch()  # of a check that a stop has cut short
    directory.clean()
    assert not site.run_directory.exists()


def test_a_page_is_a_file_that_everybody_may_read(tmp_path: Path) -> None:
    site = load(_plain(tmp_path))
    secret, page = tmp_path / "secret", tmp_path / "down.html"
    secret.write_text("of root alone")
    secret.chmod(0o600)
    page.symlink_to(secret)
    with pytest.raises(PageError, match="is not for everybody to read"):
        read_page(site.hosts[0], page)
    secret.chmod(0o644)
    assert read_page(site.hosts[0], page) == b"of root alone"
    page.unlink()
    os.mkfifo(page, 0o644)  # nobody writes: to open it would wait for ever
    with pytest.raises(PageError, match="is not a file"):
        read_page(site.hosts[0], page)


def _plain(folder: Path) -> Path:
    (folder / "site.toml").write_text('[site]\nname = "x"\n[[host]]\nname = "a.localhost"\nstatic = "static"\n')
    (folder / "static").mkdir()
    return folder


def test_a_checker_that_says_nothing_more_and_goes_on_has_its_time_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framework.process.frontend.CHECK_TIMEOUT", 1.0)
    site = read(tmp_path, "one", "the page") if shutil.which("openssl") else pytest.skip("makes certificates")
    RunDirectory(site).take()
    with tempfile.TemporaryDirectory() as name:
        program = Path(name, "checker")
        program.write_text("#!/bin/sh\nexec sleep 600 >&- 2>&-\n")
        for path, mode in ((Path(name), 0o755), (program, 0o755)):
            path.chmod(mode)
        with pytest.raises(FrontendError, match="no answer within 1 s"):
            write_configuration(site, part_of(site, str(program)))
    assert "lighttpd.conf" not in files(site)
