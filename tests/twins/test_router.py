"""What a user of the router sees: dispatch, refusals at registration, and the way back. On both twins."""

from __future__ import annotations

import datetime
import enum
import random
import re
import string
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore import implementation
from fastcore.routing import (
    AmbiguousPatternError,
    Converter,
    ParameterError,
    PatternError,
    Router,
    ShadowedError,
    UnknownTargetError,
)

MakeRouter = Callable[..., Router]
TWINS: list[Any] = ["pure", "compiled"] if implementation.accelerated else ["pure"]


@pytest.fixture
def make(twin: Any) -> MakeRouter:
    def make_router(table: Any, flags: int = 0, **options: Any) -> Router:
        return Router(table, flags, matcher=twin.matcher, **options)

    return make_router


# -- match ------------------------------------------------------------------------------------------------------------


def test_the_first_pattern_that_matches_wins(make: MakeRouter) -> None:
    router = make([(r"^/user/(?P<id>\d+)/$", "by id"), (r"^/user/(?P<name>\w+)/$", "by name"), (r"^/", "rest")])
    assert router.match("/user/7/") == ("by id", {"id": "7"})
    assert router.match("/user/ann/") == ("by name", {"name": "ann"})
    assert router.match("/user/ann") == ("rest", {})
    assert router.match("user") is None


def test_match_is_that_of_re_match_and_not_of_fullmatch(make: MakeRouter) -> None:
    router = make([(r"/static/", "static"), (r"/end$", "end")])
    assert router.match("/static/a/b.css") == ("static", {})
    assert router.match("/end\n") == ("end", {})
    assert router.match("/end\n\n") is None
    assert router.match("x/static/") is None


def test_groups_that_took_no_part_are_left_out(make: MakeRouter) -> None:
    router = make([(r"^/list(?:/(?P<page>\d+))?(?:/(?P<rest>.*))?$", "list")])
    assert router.match("/list") == ("list", {})
    assert router.match("/list/2") == ("list", {"page": "2"})
    assert router.match("/list/") == ("list", {"rest": ""})
    assert router.match("/list/2/x") == ("list", {"page": "2", "rest": "x"})


@pytest.mark.parametrize(
    ("pattern", "path", "captured"),
    [
        (r"^/(?P<dir>.*)/(?P<file>.*)$", "/a/b/c", {"dir": "a/b", "file": "c"}),
        (r"^/(?P<dir>.*?)/(?P<file>.*)$", "/a/b/c", {"dir": "a", "file": "b/c"}),
        (r"^/(?P<slug>[-\w]+)-(?P<pk>\d+)$", "/a-1-2-33", {"slug": "a-1-2", "pk": "33"}),
        (r"^/(?P<x>a|ab)(?P<y>c|bcd)(?P<z>d*)$", "/abcd", {"x": "a", "y": "bcd", "z": ""}),
        (r"^/(?:(?P<k>[a-z])=(?P<v>\d);?)+$", "/a=1;b=2", {"k": "b", "v": "2"}),
        (r"^/(?P<a>\w{1,3})(?P<b>\w*)$", "/abcdef", {"a": "abc", "b": "def"}),
        (r"(?i)^/(?P<x>straße)$", "/STRAßE", {"x": "STRAßE"}),
        (r"^/(?P<w>\w+)\b", "/привет мир", {"w": "привет"}),
        (r"^/(?P<n>\d+)$", "/٣٤", {"n": "٣٤"}),
        (r"^/(?P<a>.)(?P=a)$", "/xx", {"a": "x"}),
        (r"^/(?!admin)(?P<page>\w+)$", "/page", {"page": "page"}),
        (r"^/(?P<x>(?:a?)*?)b", "/aab", {"x": "aa"}),
        (r"^/(?P<emoji>[^/]+)/$", "/🐍/", {"emoji": "🐍"}),
    ],
)
def test_captures_are_those_of_re(make: MakeRouter, pattern: str, path: str, captured: dict[str, str]) -> None:
    assert re.compile(pattern).match(path).groupdict() == captured
    assert make([(pattern, "x")]).match(path) == ("x", captured)


def test_routes_without_an_automaton_keep_their_place_in_the_order(make: MakeRouter) -> None:
    router = make([(r"^/a/$", 0), (r"^/(?P<x>\w)(?P=x)/$", 1), (r"^/\w+/$", 2), (r"^/(?=b)b", 3)])
    assert [router.match(path) for path in ("/a/", "/cc/", "/cd/", "/b")] == [
        (0, {}),
        (1, {"x": "c"}),
        (2, {}),
        (3, {}),
    ]
    assert [slow.route.index for slow in router.slow_routes()] == [1, 3]


def test_flags_count_for_the_whole_table_and_compiled_patterns_keep_their_own(make: MakeRouter) -> None:
    router = make([("^/a$", "a"), (re.compile("^/b$"), "b")], re.IGNORECASE)
    assert router.match("/A") == ("a", {})
    assert router.match("/B") is None


@pytest.mark.parametrize(
    "path", ["", "\0", "/\udc80/", "/%zz", "/%", "x" * 1_000_000, "/a/" + "\0" * 100_000, "/" * 1_000_000]
)
def test_strange_paths_are_misses_and_never_errors(make: MakeRouter, path: str) -> None:
    assert make([(r"^/a/(?P<id>\d+)/$", 1), (r"^/(?P<w>\w+)-(?P<v>\w+)$", 2)]).match(path) is None


def test_a_path_of_a_megabyte_is_captured_whole(make: MakeRouter) -> None:
    long = "é/x" * 300_000
    assert make([(r"^/(?P<path>.+)/edit$", 1)]).match(f"/{long}/edit") == (1, {"path": long})


def test_a_path_that_is_no_text_is_a_type_error(make: MakeRouter) -> None:
    with pytest.raises(TypeError):
        make([("/", 1)]).match(b"/")


def test_an_empty_table_matches_nothing(make: MakeRouter) -> None:
    router = make([])
    assert router.match("/") is None
    assert len(router) == 0
    assert router.unreachable() == []


def test_threads_may_share_a_router(make: MakeRouter) -> None:
    from concurrent.futures import ThreadPoolExecutor

    router = make([(rf"^/{word}/(?P<w>\w+)/x$", word) for word in ("ab", "cd", "ef")])
    paths = [f"/{word}/{'é' * n}{n}/x" for n in range(200) for word in ("ab", "cd", "ef", "gh")]
    expected = [router.match(path) for path in paths]
    fresh = make([(rf"^/{word}/(?P<w>\w+)/x$", word) for word in ("ab", "cd", "ef")])
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fresh.match, paths)) == expected


# -- registration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "position", "told"),
    [
        ([("^/$", 1), ("^/a(b", 2)], 1, "missing ), unterminated subpattern\n    ^/a(b\n       ^"),
        ([("[z-a]", 1)], 0, "bad character range z-a\n    [z-a]\n     ^"),
        ([("/a)", 1)], 0, "unbalanced parenthesis\n    /a)\n      ^"),
        ([("/x**", 1)], 0, "multiple repeat\n    /x**\n       ^"),
        ([("a(?i)b", 1)], 0, "global flags not at the start of the expression\n    a(?i)b\n     ^"),
        ([("(?P=x)", 1)], 0, "unknown group name 'x'\n    (?P=x)\n        ^"),
        ([("/a{99999999999}", 1)], 0, "the repetition number is too large\n    /a{99999999999}\n      ^"),
        (
            [("(?P<a>x)(?P<a>y)", 1)],
            0,
            "redefinition of group name 'a' as group 2; was group 1\n    (?P<a>x)(?P<a>y)\n                ^",
        ),
        ([("(?<=x)(?<=a+)b", 1)], 0, "look-behind requires fixed-width pattern\n    (?<=x)(?<=a+)b\n          ^"),
        ([("/", 1, "n"), ("/x", 2, "n")], 1, "the name 'n' is that of route 0\n    /x  'n'\n        ^"),
        (
            [("/<foo:x>", 1)],
            0,
            "there is no converter 'foo'; there are date, int, path, slug, str, uuid\n    /<foo:x>\n      ^",
        ),
        ([("/<int:x>/<int:x>", 1)], 0, "the parameter 'x' is named twice\n    /<int:x>/<int:x>\n                  ^"),
        ([("/<int:x>/a(b", 1)], 0, "unterminated subpattern\n    /<int:x>/a(b\n              ^"),
        ([("/[z-a]<int:x>", 1)], 0, "bad character range z-a\n    /[z-a]<int:x>\n      ^"),
        (
            [("^/(?P<x>a)/<int:x>$", 1)],
            0,
            "redefinition of group name 'x' as group 2; was group 1\n    ^/(?P<x>a)/<int:x>$\n               ^",
        ),
        ([("(?x) a # (\n\tb(", 1)], 0, "unterminated subpattern\n    \\tb(\n       ^"),
        ([(b"/", 1)], 0, "a pattern is text or a compiled pattern of text: b'/'"),
        (["/"], 0, "an entry is (pattern, target) or (pattern, target, name)\n    /"),
        ([("/", 1, 2)], 0, "a name is text, not 2\n    /  2\n       ^"),
    ],
)
def test_a_bad_table_is_refused_with_its_position(make: MakeRouter, table: Any, position: int, told: str) -> None:
    with pytest.raises(PatternError) as refused:
        make(table)
    assert refused.value.index == position
    assert str(refused.value).startswith(f"route {position}: ")
    assert str(refused.value).endswith(told)


def test_flags_that_exclude_each_other_are_refused(make: MakeRouter) -> None:
    with pytest.raises(PatternError, match=r"route 0: ASCII and UNICODE flags are incompatible\n    /a\n    \^"):
        make([("/a", 1)], re.ASCII | re.UNICODE)


@pytest.mark.parametrize(
    ("pattern", "above"), [("(" * 5000, "("), ("x" * 4000 + "[z-a]" + "y" * 4000, "z"), ("/" + "<int:x>" * 2000, "x")]
)
def test_of_a_long_pattern_the_part_with_the_mistake_is_shown(make: MakeRouter, pattern: str, above: str) -> None:
    with pytest.raises(PatternError) as refused:
        make([(pattern, 1)])
    _, shown, caret = str(refused.value).split("\n")
    assert shown[caret.index("^")] == above
    assert len(shown) < 200
    assert "…" in shown


# -- shorthand --------------------------------------------------------------------------------------------------------


def test_shorthand_is_literal_text_with_converters(make: MakeRouter) -> None:
    router = make([("/user/<int:id>/", "user"), ("/v1.0/<name>", "version"), ("/files/<path:path>", "file")])
    assert router.routes[0].regex == r"/user/(?P<id>[0-9]+)/\Z"
    assert router.match("/user/7/") == ("user", {"id": "7"})
    assert router.match("/user/7/x") is None
    assert router.match("/v1x0/a") is None
    assert router.match("/files/a/b") == ("file", {"path": "a/b"})
    found = router.resolve("/user/7/")
    assert found is not None
    assert (found.route.target, found.values) == ("user", {"id": 7})


def test_shorthand_within_a_regex_needs_the_name_of_its_converter(make: MakeRouter) -> None:
    router = make([(r"^/(?:en|de)/<int:id>/?$", "page"), (r"^/<b>\d$", "literal")])
    assert router.match("/de/12") == ("page", {"id": "12"})
    assert router.match("/<b>4") == ("literal", {})


@pytest.mark.parametrize(
    ("source", "flags"),
    [
        ("^/a$", re.IGNORECASE),
        ("(?i)^/a$", re.ASCII),
        ("(?x) /a b", re.DOTALL),
        ("/<b>/", 0),
        (r"/\<int:x>/$", re.MULTILINE),
        (r"[<int:x>]", 0),
        (r"(?P<a>x)(?<=x)<int:a>", re.IGNORECASE),
        (r"(?<!<)<nix:a>", 0),
        (r"\\<int:id>", 0),
    ],
)
def test_a_compiled_pattern_as_text_means_the_same(source: str, flags: int) -> None:
    pattern = re.compile(source, flags)
    text = Router([(pattern, 0)]).routes[0].portable
    route = Router([(text, 0)]).routes[0]
    assert route.compiled.flags == pattern.flags
    paths = "/a", "/A", "/ab", "/<b>/", "/<int:x>/", "<", "n", "x<int:a>", "X<INT:A>", "<nix:a>", r"\<int:id>", r"\7"
    for path in paths:
        assert (route.compiled.match(path) is None) == (pattern.match(path) is None)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "042", 42),
        ("str", "a b", "a b"),
        ("path", "a/b", "a/b"),
        ("uuid", "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
        ("date", "2024-02-29", datetime.date(2024, 2, 29)),
        ("slug", "a-b_c", "a-b_c"),
    ],
)
def test_each_converter_makes_values_and_paths(make: MakeRouter, kind: str, text: str, value: Any) -> None:
    router = make([(f"/x/<{kind}:v>", "x")])
    assert router.resolve(f"/x/{text}").values == {"v": value}
    assert router.resolve(unquote(router.url("x", v=value))).values == {"v": value}


def test_a_text_that_its_converter_refuses_is_a_miss(make: MakeRouter) -> None:
    router = make([("/<date:day>", "day")])
    assert router.match("/2024-13-40") == ("day", {"day": "2024-13-40"})
    assert router.resolve("/2024-13-40") is None


@pytest.mark.parametrize(
    ("kind", "value"), [("int", 1.5), ("date", "2024-02-30"), ("date", datetime.time()), ("uuid", "1")]
)
def test_url_refuses_what_its_converter_would_not_read_back(make: MakeRouter, kind: str, value: Any) -> None:
    router = make([(f"/x/<{kind}:v>", "x")])
    for _ in range(2):
        with pytest.raises(ParameterError, match=r"cannot be written|is no value|does not match"):
            router.url("x", v=value)


class Level(enum.Enum):
    LOW = 1


def test_a_member_of_an_enum_is_its_value_for_a_converter_too(make: MakeRouter) -> None:
    router = make([("/level/<int:level>", "level")])
    assert [router.url("level", level=level) for level in (Level.LOW, True, 7)] == ["/level/1", "/level/1", "/level/7"]


def test_converters_can_be_added(make: MakeRouter) -> None:
    hexadecimal = Converter("[0-9a-f]+", lambda text: int(text, 16), "{:x}".format)
    router = make([("/colour/<hex:c>", "c")], converters={"hex": hexadecimal})
    assert router.url("c", c=255) == "/colour/ff"
    assert router.url("c", c=254) == "/colour/fe"
    assert router.resolve("/colour/ff").values == {"c": 255}


# -- url --------------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


def test_url_by_target_and_by_name(make: MakeRouter) -> None:
    def show() -> None: ...

    router = make([(r"^/user/(?P<id>\d+)/$", show, "user"), (r"^/$", "home")])
    for _ in range(3):  # the first time a template is made, then it is used again
        assert router.url(show, id=7) == "/user/7/"
        assert router.url("user", id="8") == "/user/8/"
        assert router.url("home") == "/"


def test_url_chooses_the_pattern_that_fits_the_parameters(make: MakeRouter) -> None:
    router = make([(r"^/list/$", "l"), (r"^/list/(?P<page>\d+)/$", "l"), (r"^/list/(?P<page>[a-z]+)/$", "l")])
    for _ in range(2):
        assert router.url("l") == "/list/"
        assert router.url("l", page=2) == "/list/2/"
        assert router.url("l", page="last") == "/list/last/"
        assert router.url("l", page=None) == "/list/"


@pytest.mark.parametrize(
    ("pattern", "parameters", "url"),
    [
        (r"^/a(?:/(?P<p>\d+))?/?$", {}, "/a"),
        (r"^/a(?:/(?P<p>\d+))?/?$", {"p": 3}, "/a/3"),
        (r"^/(?:u/(?P<id>\d+)|n/(?P<name>\w+))$", {"name": "x"}, "/n/x"),
        (r"^/(?:u/(?P<id>\d+)|n/(?P<name>\w+))$", {"id": 5}, "/u/5"),
        (r"^/v[1][.]0/(?P<x>.)\Z", {"x": "é"}, "/v1.0/%C3%A9"),
        (r"^/(?P<x>\w)/(?P=x)$", {"x": "q"}, "/q/q"),
        (r"^/(?P<whole>a/(?P<part>\d))$", {"part": 4}, "/a/4"),
        (r"^/(?P<whole>a/(?P<part>\d))$", {"whole": "a/4"}, "/a/4"),
        (r"^/x{3}/(?P<y>[0-9]{2})$", {"y": "07"}, "/xxx/07"),
        (r"^/(?P<c>\w+)$", {"c": Colour.RED}, "/red"),
        (r"^/(?P<d>[-\d]+)$", {"d": datetime.date(2024, 1, 2)}, "/2024-01-02"),
        (r"^/(?P<p>.*)$", {"p": "a b?c#d%/é"}, "/a%20b%3Fc%23d%25/%C3%A9"),
        (r"^/(?P<p>.*)$", {"p": "/evil.example/"}, "/%2Fevil.example/"),
        (r"(?i)^/Get/(?P<x>k)$", {"x": "K"}, "/Get/K"),
    ],
)
def test_url_of_a_pattern(make: MakeRouter, pattern: str, parameters: dict[str, Any], url: str) -> None:
    router = make([(pattern, "x")])
    for _ in range(2):
        assert router.url("x", **parameters) == url


@pytest.mark.parametrize(
    ("pattern", "parameters", "error", "told"),
    [
        (r"^/(?P<a>\d)/(?P<b>\d)$", {}, ParameterError, "missing 'a', 'b'"),
        (r"^/(?P<a>\d)$", {"a": 1, "z": 2}, ParameterError, "surplus 'z': it takes 'a'"),
        (r"^/(?P<a>\d)$", {"a": "x"}, ParameterError, r"a='x' does not match \d"),
        (r"^/(?P<a>[^/]+)$", {"a": "x/y"}, ParameterError, "a='x/y' does not match [^/]+"),
        (r"^/(?P<a>\w+)$", {"a": b"x"}, ParameterError, "'a' is a bytes"),
        (r"^/(?P<a>\w*)(?P<b>\w*)$", {"a": "x", "b": "y"}, ParameterError, "would be read as 'xy', not 'x'"),
        (r"^/(?P<a>\w+)(?<!x)$", {"a": "x"}, ParameterError, "does not match the pattern"),
        (r"^/\d/(?P<a>\w+)$", {"a": "x"}, AmbiguousPatternError, "a class of characters outside a named group"),
        (r"^/(?:en|de)/$", {}, AmbiguousPatternError, "'en' and 'de' fit equally well"),
        (r"^/(?P<p>.*)$", {"p": "../etc"}, ParameterError, "dot segment"),
        (r"^/(?P<p>.*)$", {"p": "\udc80"}, ParameterError, "surrogate"),
    ],
)
def test_url_says_why_not(make: MakeRouter, pattern: str, parameters: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as refused:
        make([(pattern, "x")]).url("x", **parameters)
    assert told in str(refused.value)


def test_url_that_an_earlier_route_would_take_is_refused_and_names_it(make: MakeRouter) -> None:
    router = make([(r"^/user/me/$", "me"), (r"^/user/(?P<name>\w+)/$", "user")])
    assert router.url("user", name="ann") == "/user/ann/"
    with pytest.raises(ShadowedError, match=r"taken by <route 0: '\^/user/me/\$'"):
        router.url("user", name="me")


def test_url_of_an_unknown_target(make: MakeRouter) -> None:
    with pytest.raises(UnknownTargetError, match="no route has the target or name 'nix'"):
        make([("^/$", "home")]).url("nix")


def test_targets_need_not_be_hashable(make: MakeRouter) -> None:
    target = {"view": 1}
    router = make([("^/a$", target)])
    assert router.match("/a") == (target, {})
    assert router.url(target) == "/a"


TABLE = [
    (r"^/$", "home"),
    (r"^/user/(?P<name>[^/]+)/$", "user"),
    (r"^/user/(?P<name>[^/]+)/(?P<page>\d+)$", "page"),
    (r"^/(?P<year>\d{4})/(?P<slug>[-\w]+)$", "post"),
    (r"^/files/(?P<path>.*)$", "files"),
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["user", "page", "post", "files"]),
    st.text(max_size=12),
    st.one_of(st.text(max_size=5), st.integers(-5, 10**6)),
)
def test_whatever_url_gives_leads_back_to_its_target_with_its_parameters(target: str, text: str, other: Any) -> None:
    names = {"user": ["name"], "page": ["name", "page"], "post": ["slug", "year"], "files": ["path"]}[target]
    parameters = dict(zip(names, (text, other), strict=False))
    outcomes = []
    for name in TWINS:
        router = Router(TABLE, matcher=implementation.twin(name).matcher)
        try:
            url = router.url(target, **parameters)
        except ParameterError as error:
            outcomes.append(str(error))
            continue
        assert url.isascii()
        assert not url.startswith("//")
        assert router.match(unquote(url)) == (target, {key: str(value) for key, value in parameters.items()})
        assert router.url(target, **parameters) == url
        outcomes.append(url)
    assert len(set(outcomes)) == 1


@pytest.mark.timeout(300)
def test_catastrophic_patterns_take_linear_time(make: MakeRouter, twin: Any) -> None:
    """For `re` they would take longer than the universe is old; so the pure twin, which is `re`, is left out."""
    if twin.name == "pure":
        return
    router = make([(r"^(a+)+b$", 1), (r"^(?:a|aa)*c$", 2), (r"^(?P<x>(?:a|aa)+)(?P<y>a+)d$", 3)])
    assert router.match("a" * 10_000) is None
    assert router.match("a" * 10_000 + "b") == (1, {})
    assert router.match("a" * 10_000 + "d") == (3, {"x": "a" * 9_999, "y": "a"})
    assert router.slow_routes() == []


@pytest.mark.timeout(300)
def test_a_table_whose_states_explode_stays_bounded(make: MakeRouter, twin: Any) -> None:
    """`.*x.{n}` needs 2**n states when all are kept."""
    router = make([(rf"^.*[xy].{{18}}{tail}$", tail) for tail in "abcdef"])
    rng = random.Random(1)
    for _ in range(60):
        path = "".join(rng.choice("xyz") for _ in range(400)) + rng.choice("abcdef")
        expected = path[-1] if path[-20] in "xy" else None
        assert router.match(path) == (None if expected is None else (expected, {}))
    if twin.name == "compiled":
        held = router._matcher.statistics()
        assert held["states"] <= router._matcher.max_states
        assert held["simulated"] > 0


@pytest.mark.timeout(300)
def test_states_of_many_threads_are_bounded_in_bytes(make: MakeRouter, twin: Any) -> None:
    """A state of such a table has thousands of threads, so a bound on the number of states alone is none on memory."""
    router = make([(rf"^.*[ab{number}].{{40}}{number}$", number) for number in range(100)])
    rng = random.Random(1)
    paths = ["".join(rng.choice("ab0123") for _ in range(600)) for _ in range(6)]
    plain = Router(
        [(route.pattern, route.target) for route in router.routes], matcher=implementation.twin("pure").matcher
    )
    assert [router.match(path) for path in paths] == [plain.match(path) for path in paths]
    if twin.name == "compiled":
        assert router._matcher.statistics()["key_bytes"] < 20_000_000


def test_many_characters_beyond_ascii_leave_the_answers_right(make: MakeRouter) -> None:
    """More of them than are remembered at a time, in more classes than are."""
    count = 4200
    router = make([(rf"^/{chr(0x4E00 + number)}/(?P<rest>\w*)$", number) for number in range(count)])
    for _ in range(2):
        for number in (0, 1, 700, 4199):
            assert router.match(f"/{chr(0x4E00 + number)}/é") == (number, {"rest": "é"})
    for number in range(0, 9000, 100):
        expected = (number, {"rest": "x"}) if number < count else None
        assert router.match(f"/{chr(0x4E00 + number)}/x") == expected


def test_more_sets_of_characters_than_are_numbered_leave_the_answers_right(make: MakeRouter) -> None:
    """4,096 are kept apart from the states; those of later states lie within them."""
    rng = random.Random(4)
    letters = string.ascii_letters + string.digits
    classes = ["".join(rng.sample(letters, 6)) for _ in range(4500)]
    halves = classes[:2250], classes[2250:]
    router = make([("^" + "".join(f"[{members}]" for members in half) + "+(?P<rest>-*)$", half[0]) for half in halves])
    for half in halves:
        path = "".join(rng.choice(members) for members in half) + 3 * half[-1]
        assert router.match(path + "--") == (half[0], {"rest": "--"})
        assert router.match(path[:2000] + "/" + path[2001:]) is None
