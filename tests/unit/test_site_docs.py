"""docs/site.md says what is true: its examples load, every key is described, its defaults are the defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from framework.site import SiteError, load
from framework.site.hosts import DEFAULT_HEADERS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "site.md").read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
NOWHERE = "zzzzzzzz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("static", "static-wall", "scripts"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_loads_without_a_remark(folder: Path, example: str) -> None:
    (folder / "site.toml").write_text(example)
    assert load(folder).remarks == ()


def known_keys(folder: Path) -> dict[str, set[str]]:
    """The keys of each table, as the loader itself lists them for a key that is near none."""
    tables = re.sub(r"(?m)^(\[.*\])$", rf"\1\n{NOWHERE} = 1", EXAMPLES[0])
    return unknown_keys(folder, tables)


def unknown_keys(folder: Path, text: str) -> dict[str, set[str]]:
    (folder / "site.toml").write_text(text)
    with pytest.raises(SiteError) as caught:
        load(folder)
    found = {}
    for problem in caught.value.problems:
        table = problem.key.removesuffix(f".{NOWHERE}").partition("[")[0].partition(".")[0]
        found[table] = set(problem.hint.removeprefix("known: ").split(", "))
    return found


@pytest.mark.parametrize(
    ("table", "heading"), [("site", "## `[site]`"), ("host", "## `[[host]]`"), ("backend", "## `[backend.")]
)
def test_every_key_is_described_and_no_other(folder: Path, table: str, heading: str) -> None:
    section = TEXT.split(heading)[1].split("\n## ")[0]
    described = set(re.findall(r"(?m)^\| `(\w+)` \|", section))
    assert described == known_keys(folder)[table]


def test_every_key_of_a_foreign_back_end_is_described_and_no_other(folder: Path) -> None:
    section = TEXT.split("## `[backend.NAME]`, started by somebody else")[1].split("\n## ")[0]
    described = set(re.findall(r"(?m)^\| `(\w+)` \|", section))
    example = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)[0]
    known = unknown_keys(folder, example.replace("[backend.php]", f"[backend.php]\n{NOWHERE} = 1"))
    assert described == known["backend"]


def test_the_default_headers_are_those_of_the_table() -> None:
    table = dict(re.findall(r"(?m)^  \| `([\w-]+)` \| `(.*?)` \|$", TEXT))
    assert table == DEFAULT_HEADERS


def test_the_example_that_says_everything_has_the_defaults(folder: Path) -> None:
    (folder / "site.toml").write_text(EXAMPLES[1])
    full = load(folder)
    optional = re.compile(
        r"(?m)^(listen|frontend|frontend_user|frontend_group|run_directory|state_directory|max_request_size"
        r"|static_prefix|static_max_age|compression|robots|home|prefix|user|group|workers|path) = .*\n"
    )
    (folder / "site.toml").write_text(optional.sub("", EXAMPLES[1]))
    assert load(folder) == full
