"""The line of a key: right, or not given at all."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from framework.site.lines import find_lines, line_of

TEXT = '''\
# [not.a.table]
top = 1   # = 2

[site] # comment
name = "a # b"
"quoted key" = """
[host]
name = "inside"
\\"""
"""
literal = \'\'\'
x = 1\'\'\'
dotted . key = { a = 1, "b" = "}" }
list = [
  "one", # ]
  [2,
   3],
]
after = 1979-05-27

[[host]]
name = 'one'
  [host.deep]
  x = 1
[[host]]
name = 'two'
  [[host.deep]]
  x = 1
  [[host.deep]]
  x = 2
'''


def test_keys_are_found_among_strings_comments_and_lists() -> None:
    data = tomllib.loads(TEXT)
    lines = TEXT.split("\n")
    found = find_lines(TEXT, data)
    expected = {
        ("top",): "top = 1",
        ("site",): "[site]",
        ("site", "name"): "name = ",
        ("site", "quoted key"): '"quoted key"',
        ("site", "literal"): "literal",
        ("site", "dotted"): "dotted . key",
        ("site", "dotted", "key"): "dotted . key",
        ("site", "list"): "list = [",
        ("site", "after"): "after",
        ("host", 0): "[[host]]",
        ("host", 0, "name"): "name = 'one'",
        ("host", 0, "deep"): "  [host.deep]",
        ("host", 0, "deep", "x"): "  x = 1",
        ("host", 1): "[[host]]",
        ("host", 1, "name"): "name = 'two'",
        ("host", 1, "deep", 0): "  [[host.deep]]",
        ("host", 1, "deep", 0, "x"): "  x = 1",
        ("host", 1, "deep", 1): "  [[host.deep]]",
        ("host", 1, "deep", 1, "x"): "  x = 2",
    }
    assert set(found) == set(expected)
    for path, start in expected.items():
        assert lines[found[path] - 1].startswith(start), path
    assert found["host", 1] > found["host", 0]


def test_what_stands_within_a_value_has_the_line_of_its_key() -> None:
    found = find_lines(TEXT, tomllib.loads(TEXT))
    assert line_of(found, ("site", "dotted", "key", "a")) == 13
    assert line_of(found, ("nowhere",)) is None


def test_windows_line_ends_count_once() -> None:
    text = '[site]\r\nname = "a"\r\nlist = [\r\n1]\r\nlast = 1\r\n'
    assert find_lines(text, tomllib.loads(text))["site", "last"] == 5


_VALUES = st.sampled_from(
    ["1", '"x"', "'x'", '"a\\"b"', '"""\na = 1\n[t]\n"""', '""""quoted""""', "'''\nb = 2\n'''", "[1,\n2]", "{ c = 1 }",
     "[\n# d = 1\n'e',\n]", "'#'", '"#" # f = 1', "1979-05-27T07:32:00Z", '["]", "}"]', "[{ a = 1 }, { a = 2 }]", "''"]
)  # fmt: skip
_KEYS = st.sampled_from(["a", "b", "c.d", '"e f"', "'g'", "h-i", "1"])
_HEADERS = st.sampled_from(["[t]", "[t.u]", "[[v]]", "[[v.w]]", "[v.x]", '["q.r"]', "[ s . t ] # note"])
_LINES = st.one_of(_HEADERS, st.tuples(_KEYS, _VALUES).map(" = ".join), st.sampled_from(["", "# a = 1", "  "]))


@given(st.lists(_LINES, max_size=12))
def test_every_line_given_holds_the_key(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = find_lines(text, data)
    assert bool(found) == any(line.strip() and not line.strip().startswith("#") for line in lines)
    source = text.split("\n")
    for path, line in found.items():
        last = next(part for part in reversed(path) if isinstance(part, str))
        assert last in source[line - 1]


@given(st.text())
def test_any_text_is_scanned_without_an_error(text: str) -> None:
    assert find_lines(text, {}) == {}


def test_a_dotted_key_has_its_line_and_so_have_the_tables_that_it_makes() -> None:
    text = "[site]\na.b.c = 1\na.d = 2\n"
    found = find_lines(text, tomllib.loads(text))
    assert [found["site", *keys] for keys in (("a",), ("a", "b"), ("a", "b", "c"), ("a", "d"))] == [2, 2, 2, 3]
