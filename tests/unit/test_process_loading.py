"""What a short-lived child reads for the supervisor: values and errors come over, memory and modules stay there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from framework.process.loading import LoadError, in_child
from framework.site import SiteError, load

TEXT = """\
[site]
name = "appliance"

[[host]]
name = "console.localhost"
backends = ["status"]

[backend.status]
application = "appliance.status:app"
environment = { COLOUR = "blue" }
"""


def test_a_site_comes_over_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(TEXT)
    assert in_child(lambda: load(tmp_path)) == load(tmp_path)


def test_all_mistakes_come_over(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(TEXT + "workers = 0\nnice = 99\n")
    with pytest.raises(SiteError) as there:
        in_child(lambda: load(tmp_path))
    with pytest.raises(SiteError) as here:
        load(tmp_path)
    assert str(there.value) == str(here.value)
    assert [problem.line for problem in there.value.problems] == [problem.line for problem in here.value.problems]


def test_a_child_that_dies_is_an_error() -> None:
    with pytest.raises(LoadError):
        in_child(lambda: os._exit(3))


class Picky(Exception):
    """One that comes over only where its two arguments do."""

    def __init__(self, first: str, second: object) -> None:
        super().__init__(first)
        self.second = second


@pytest.mark.parametrize("second", [2, lambda: None])
def test_an_error_that_cannot_come_over_is_an_error_all_the_same(second: object) -> None:
    def load() -> None:
        raise Picky("what it says", second)

    with pytest.raises(LoadError):
        in_child(load)


def test_where_there_can_be_no_child_no_descriptor_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fork", fork)  # root, who may run this, has no limit of processes
    with pytest.raises(BlockingIOError):
        in_child(lambda: 1)
    assert os.listdir("/proc/self/fd") == before


def test_what_reading_takes_is_not_in_the_callers_memory(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(TEXT)
    program = (
        "import sys\nfrom framework.process.loading import in_child\nimport framework.process.supervisor\n"
        "def read():\n    from framework.site import load\n    return load(sys.argv[1])\n"
        "print(in_child(read).name, *sorted({'tomllib', 'hashlib', 'tempfile', 'subprocess'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["appliance"]
