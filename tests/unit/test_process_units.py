"""Texts in systemd units: each comes back as it was, on one line, whatever a site file has in it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.process.parts import PartsError
from framework.process.units import _ends, _plain, quoted, units_of
from framework.site import Site, load

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\t\n"\\%$; '))
ESCAPES = {"\\n": "\n", "\\\\": "\\", '\\"': '"', "%%": "%", "$$": "$"}


def as_systemd_reads_it(word: str, dollars: bool) -> str:
    """systemd.syntax(7) on quotes and escapes, systemd.unit(5) on specifiers, systemd.service(5) on dollars."""
    inner = word[1:-1] if word.startswith('"') else word
    pattern = r'\\[n\\"]|%%|\$\$' if dollars else r'\\[n\\"]|%%'
    return re.sub(pattern, lambda match: ESCAPES[match[0]], inner)


@given(TEXTS, st.booleans())
def test_a_word_is_one_line_and_comes_back(text: str, dollars: bool) -> None:
    word = quoted(text, dollars=dollars)
    assert "\n" not in word
    assert as_systemd_reads_it(word, dollars) == text
    if word.startswith('"'):
        assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', word)
    else:
        assert not re.search(r"[ \t'\";\\]", word)


def site_of(folder: Path) -> Site:
    (folder / "site.toml").write_text(
        '[site]\nname = "x"\n[[host]]\nname = "a.localhost"\nbackends = ["web"]\n'
        '[backend.web]\napplication = "web:app"\n'
    )
    return load(folder)


def test_a_variable_that_no_unit_can_carry_is_told(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    backend = replace(site.backends["web"], environment={"COLOUR": "\x1b[31m"})
    with pytest.raises(PartsError, match="web: the variable COLOUR has control characters"):
        units_of(replace(site, backends={"web": backend}))


@pytest.mark.parametrize(
    ("keys", "seconds"),
    [
        ({}, 600),
        ({"request_timeout": 5}, 60),
        ({"request_timeout": 100}, 500),
        ({"request_timeout": 100, "workers": 2}, 60),
        ({"max_requests": 10}, 60),
    ],
)
def test_a_watchdog_waits_for_longer_than_a_call_may_take(tmp_path: Path, keys: dict[str, int], seconds: int) -> None:
    backend = replace(site_of(tmp_path).backends["web"], **keys)
    assert dict(_ends(backend))["WatchdogSec"] == str(seconds)


def test_a_path_alone_in_a_directive_has_no_escapes(tmp_path: Path) -> None:
    """systemd knows specifiers there, and takes a backslash for what it is."""
    assert _plain("/etc/a b/100%/back\\slash") == "/etc/a b/100%%/back\\slash"
    for path in ("/etc/a\nb", "/etc/end\\"):
        with pytest.raises(PartsError, match="a unit cannot carry"):
            _plain(path)
