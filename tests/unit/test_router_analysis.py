"""What the router knows about its table: unreachable routes, overlaps, explanations, listings, drawings."""

from __future__ import annotations

import itertools
import random
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore.routing import Router
from fastcore.routing.charsets import charset

EVERYTHING = "".join(map(chr, range(0x110000)))

TABLE = [
    (r"^/user/(?P<id>\d+)/$", "by_id"),
    (r"^/user/(?P<name>\w+)/$", "by_name"),
    (r"^/user/42/$", "never"),
    (r"^/files/", "files"),
    (r"^/files/(?P<path>.+)$", "file"),
    (r"^a^b", "nothing"),
    (r"^/user/(?P<mixed>[a-z0-9]+)/$", "mixed"),
]


def test_unreachable_routes_are_told_with_those_that_take_their_paths() -> None:
    told = {verdict.route.target: verdict for verdict in Router(TABLE).unreachable()}
    assert {target: [route.target for route in verdict.taken_by] for target, verdict in told.items()} == {
        "never": ["by_id"],
        "file": ["files"],
        "nothing": [],
        "mixed": ["by_id", "by_name"],
    }
    assert told["never"].example == "/user/42/"
    assert told["nothing"].example is None
    assert "matches no path at all" in str(told["nothing"])
    assert str(told["never"]).endswith("'by_id'> takes all its paths, such as '/user/42/'")
    assert "'by_name'> take all its paths" in str(told["mixed"])


def test_unicode_counts_when_a_route_is_judged() -> None:
    assert [v.route.target for v in Router([(r"^[0-9]$", 1), (r"^\d$", 2)]).unreachable()] == []
    assert [v.route.target for v in Router([(r"^\d$", 1), (r"^[0-9]$", 2)]).unreachable()] == [2]
    assert [v.route.target for v in Router([(r"(?i)^k$", 1), ("^[kK\u212a]$", 2)]).unreachable()] == [2]
    assert [v.route.target for v in Router([(r"(?ai)^k$", 1), ("^[kK\u212a]$", 2)]).unreachable()] == []


def test_a_later_route_that_wins_with_a_longer_path_is_reachable() -> None:
    """`re.match` takes a beginning: an earlier pattern that needs more text leaves the shorter path to a later one."""
    assert Router([("^/ab", 1), ("^/a", 2)]).unreachable() == []
    assert [v.route.target for v in Router([("^/a", 1), ("^/ab", 2)]).unreachable()] == [2]


def test_what_has_no_automaton_is_undecided_and_not_guessed() -> None:
    router = Router([(r"^/(?=x)\w$", 1), ("^/x$", 2), (r"^/(?=y)x$", 3)])
    assert router.unreachable() == []
    assert [(verdict.route.target, verdict.reason) for verdict in router.undecided()] == [
        (1, "it looks ahead or behind"),
        (2, "an earlier route that has no automaton takes some of its paths"),
        (3, "it looks ahead or behind"),
    ]


def test_overlaps_name_both_routes_and_the_winner() -> None:
    overlaps = {(o.first.target, o.second.target): o for o in Router(TABLE).overlaps()}
    assert set(overlaps) == {
        ("by_id", "by_name"),
        ("by_id", "never"),
        ("by_id", "mixed"),
        ("by_name", "never"),
        ("by_name", "mixed"),
        ("never", "mixed"),
        ("files", "file"),
    }
    assert overlaps["by_name", "never"].winner.target == "by_id"
    assert "wins" in str(overlaps["files", "file"])


PIECES = ["a", "b", "[ab]", "a?", "b*", "(?:a|ba)", ".", "a+", "[^a]", "$", r"\b", r"\Z", "(?:ab)*", "(?:a|b|)"]


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_verdicts_and_overlaps_agree_with_trying_all_short_texts(rng: random.Random) -> None:
    """Texts of up to five of these characters decide everything that such short patterns can do."""
    patterns = ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 3))) + rng.choice(["", "$"]) for _ in range(3)]
    compiled = [re.compile(pattern) for pattern in patterns]
    winners: set[int] = set()
    pairs: set[tuple[int, int]] = set()
    for length in range(6):
        for letters in itertools.product("abx-\n", repeat=length):
            text = "".join(letters)
            matched = [index for index, pattern in enumerate(compiled) if pattern.match(text)]
            winners.update(matched[:1])
            pairs.update(itertools.combinations(matched, 2))
    router = Router([(pattern, index) for index, pattern in enumerate(patterns)])
    unreachable = {verdict.route.index for verdict in router.unreachable()}
    assert not unreachable & winners, patterns
    for verdict in router.unreachable():
        if verdict.example is not None:
            assert compiled[verdict.route.index].match(verdict.example)
            assert router.match(verdict.example)[0] in [route.index for route in verdict.taken_by]
    assert not set(range(3)) - unreachable - winners, patterns
    overlaps = {(overlap.first.index, overlap.second.index): overlap for overlap in router.overlaps()}
    assert pairs <= set(overlaps), patterns
    for (first, second), overlap in overlaps.items():
        assert compiled[first].match(overlap.example)
        assert compiled[second].match(overlap.example)


def test_explain_tells_how_far_each_route_went() -> None:
    explained = Router(TABLE).explain("/user/4x/")
    assert explained.winner is not None
    assert explained.winner.target == "by_name"
    text = str(explained)
    assert "route 0" in text
    assert r"goes along with '/user/4', then wants / or \d, not 'x'" in text
    assert "route 6 '^/user/(?P<mixed>[a-z0-9]+)/$': matches too, but comes after route 1" in text
    assert str(Router(TABLE).explain("/nix")).startswith("'/nix': no route")


def test_explain_shows_the_nearest_of_many() -> None:
    router = Router([(f"^/item{number}/$", number) for number in range(500)])
    lines = str(router.explain("/item499/x")).splitlines()
    assert len(lines) < 20
    assert any("route 499" in line for line in lines)
    assert "others that fail earlier" in lines[-1]


def test_slow_routes_say_why() -> None:
    router = Router([(r"^/(?P<a>\w)(?P=a)$", 1), (r"^/(?P<b>(?:a?)*)b", 2), (r"^(a+)+b$", 3), (r"^x{1,5000}$", 4)])
    assert [(slow.route.target, slow.reason) for slow in router.slow_routes()] == [
        (1, "it refers back to a group"),
        (2, "it repeats something that may be empty"),
        (4, "it needs more than 4000 nodes (a large counted repeat)"),
    ]


def test_the_listing_shows_nodes_and_programs() -> None:
    listing = Router([(r"^/a/(?P<id>\d+)$", "a"), (r"^/(?P<p>.*)/b$", "b"), (r"^/(?=c)", "c")]).source()
    assert "automaton:" in listing
    assert "SPAN \\d" in listing
    assert "decided: the next character makes every choice" in listing
    assert "with choices" in listing
    assert "by re: it looks ahead or behind" in listing


def test_the_drawing_is_svg_that_names_each_route() -> None:
    drawn = ElementTree.fromstring(Router(TABLE[:5]).drawing())
    texts = [text.text or "" for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert any("route 0" in text for text in texts)
    assert any("user/" in text for text in texts)


def test_a_table_too_large_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 300 states"):
        Router([(f"^/{number}/{number}x{number}$", number) for number in range(400)]).drawing()


@pytest.mark.parametrize(
    "source", [r"\w", r"[^\W\d]", r"[a-zé]", r"(?i:[k-s])", r"(?i:ſ)", r"\s", r"(?a:\w)", ".", r"[^\n/]"]
)
def test_a_set_of_characters_holds_what_re_says(source: str) -> None:
    tree = re._parser.parse(source)
    operator, argument = tree[0]
    flags = tree.state.flags
    if operator is re._constants.SUBPATTERN:
        flags = (flags | argument[1]) & ~argument[2]
        if argument[1] & re.ASCII:
            flags &= ~re.UNICODE
        operator, argument = argument[3][0]
    chars = charset(operator, argument, flags)
    pattern = re.compile(source)
    members = {ord(c) for c in pattern.findall(EVERYTHING)}
    assert {c for c in range(128) if chars.ascii >> c & 1} == {c for c in members if c < 128}
    assert {c for first, last in chars.ranges() for c in range(first, last + 1)} == {c for c in members if c >= 128}
    if chars.wide is not None:
        assert all((c in members) == chars.wide for c in (128, 0xE9, 0x212A, 0x10FFFF))
