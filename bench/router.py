"""The router side by side with others, in one run, on distinct paths so that no cache can help.

    python bench/router.py                     all tables, all peers that are installed, and at the end what was to be
                                               reached beside what was; kept in results/router.json
    python bench/router.py --docs              that run as tables in docs/router.md; nothing is measured
    python bench/router.py --routes 10 1000    only these table sizes; nothing is kept
    python bench/router.py --instructions      instructions for one match, by callgrind (needs valgrind); kept
    python bench/router.py --check             the same, and fails where they grew by more than 3 %

A quarter of the routes is literal, the others have one or two parameters. Each number is the best of several rounds
in nanoseconds for one path; the rounds of the peers take turns. Peers without regexes get the same table in their own
syntax. For the growth from 10 to 10,000 routes the sizes take turns, without peers, so that all meet the same machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from router_targets import judge, show, write_page

RESULTS = Path(__file__).parent / "results"
RECORD = RESULTS / "router-instructions.json"
WORDS = ("user", "item", "order", "page", "report", "disk", "volume", "share", "task", "job", "log", "event", "rule")
REGEXES = {"int": "[0-9]+", "text": "[^/]+", "slug": "[-a-z0-9_]+"}
GROWTH = 0.03

Segments = tuple[str, ...]  # literal segments; a parameter is "int:id"


def make_table(count: int, seed: int = 1) -> list[Segments]:
    rng = random.Random(seed)
    variety = max(4, count // 8)
    table: dict[Segments, Segments] = {}
    while len(table) < count:
        one, two, three = (f"{rng.choice(WORDS)}{rng.randrange(variety)}" for _ in range(3))
        segments: Segments = (
            (one, two, three),
            (one, "int:id", two),
            (one, two, "text:name"),
            (one, "int:id", two, "slug:slug"),
        )[len(table) % 4]
        shape = tuple("*" if ":" in segment else segment for segment in segments)
        table.setdefault(shape, segments)
    return list(table.values())


def make_paths(table: list[Segments], count: int, seed: int = 2) -> list[str]:
    rng = random.Random(seed)
    values = {"int": lambda: str(rng.randrange(10**7)), "text": lambda: f"n{rng.randrange(16**8):x}"}
    values["slug"] = lambda: f"s-{rng.randrange(16**8):x}"
    paths: set[str] = set()
    while len(paths) < count:
        parts = [values[part.split(":")[0]]() if ":" in part else part for part in rng.choice(table)]
        paths.add("/" + "/".join(parts))
    return sorted(paths, key=lambda _: rng.random())


def make_misses(table: list[Segments], count: int) -> list[str]:
    """Paths that look right until near their end."""
    return [f"{path}/x-{number}" for number, path in enumerate(make_paths(table, count, seed=3))]


def awkward_table(count: int) -> list[str]:
    """Regexes that overlap at every place: a tree of segments is of no use here."""
    shapes = [
        r"^/(?P<a>\w+)/%s(?P<b>\d*)$",
        r"^/(?:%s|x)+/(?P<a>[^/]*)$",
        r"^/(?P<a>[a-m]+)(?P<b>[n-z]*)/%s$",
        r"^/(?P<a>.*)/%s/(?P<b>.*)$",
    ]
    return [shapes[number % 4] % f"{WORDS[number % 13]}{number}" for number in range(count)]


def awkward_paths(count: int, paths: int) -> list[str]:
    rng = random.Random(5)
    made = []
    for _ in range(paths):
        number = rng.randrange(count)
        word, tail = f"{WORDS[number % 13]}{number}", f"{rng.randrange(16**6):x}"
        made.append([f"/w{tail}/{word}", f"/{word}/{tail}", f"/abcxyz/{word}", f"/p{tail}/q/{word}/{tail}"][number % 4])
    return made


def to_regex(segments: Segments) -> str:
    parts = []
    for segment in segments:
        kind, _, name = segment.partition(":")
        parts.append(f"(?P<{name}>{REGEXES[kind]})" if name else segment)
    return "^/" + "/".join(parts) + "$"


def to_template(segments: Segments, shape: str) -> str:
    """The table in a peer's syntax: `shape` has the parameter's name for `{}`."""
    return "/" + "/".join(shape.format(part.partition(":")[2]) if ":" in part else part for part in segments)


# -- peers: each gives a callable that takes a path, or raises ImportError --------------------------------------------


def with_compiled(regexes: list[str], table: list[Segments]) -> Callable[[str], Any]:
    from fastcore import implementation
    from fastcore.routing import Router

    pairs = [(regex, number) for number, regex in enumerate(regexes)]
    return Router(pairs, matcher=implementation.twin("compiled").matcher).match


def with_pure(regexes: list[str], table: list[Segments]) -> Callable[[str], Any]:
    """Trying each `re` in order: the pure twin."""
    from fastcore import implementation
    from fastcore.routing import Router

    pairs = [(regex, number) for number, regex in enumerate(regexes)]
    return Router(pairs, matcher=implementation.twin("pure").matcher).match


def with_routrie(regexes: list[str], table: list[Segments]) -> Callable[[str], Any]:
    import routrie

    return routrie.Router({to_template(row, ":{}"): number for number, row in enumerate(table)}).find


def with_falcon(regexes: list[str], table: list[Segments]) -> Callable[[str], Any]:
    from falcon.routing import CompiledRouter

    class Resource:
        def on_get(self, request: Any, response: Any, **parameters: Any) -> None: ...

    router = CompiledRouter()
    for row in table:
        router.add_route(to_template(row, "{{{}}}"), Resource())
    return router.find


def with_werkzeug(regexes: list[str], table: list[Segments]) -> Callable[[str], Any]:
    from werkzeug.exceptions import NotFound
    from werkzeug.routing import Map, Rule

    rules = [Rule(to_template(row, "<{}>"), endpoint=number) for number, row in enumerate(table)]
    adapter = Map(rules).bind("localhost")

    def match(path: str) -> Any:
        try:
            return adapter.match(path, method="GET")
        except NotFound:
            return None

    return match


def with_starlette(regexes: list[str], table: list[Segments]) -> Callable[[str], Any]:
    from starlette.routing import Match, Route

    routes = [Route(to_template(row, "{{{}}}"), endpoint=lambda request: None) for row in table]

    def match(path: str) -> Any:
        scope = {"type": "http", "path": path, "method": "GET", "root_path": ""}
        for route in routes:
            found, child = route.matches(scope)
            if found is Match.FULL:
                return child
        return None

    return match


def with_django(regexes: list[str], table: list[Segments]) -> Callable[[str], Any]:
    from django.urls import Resolver404

    resolver = django_resolver(regexes)

    def match(path: str) -> Any:
        try:
            return resolver.resolve(path)
        except Resolver404:
            return None

    return match


def django_resolver(regexes: list[str]) -> Any:
    from django.conf import settings
    from django.urls import get_resolver, re_path, set_urlconf

    if not settings.configured:
        settings.configure(USE_I18N=False, ROOT_URLCONF=())
    patterns = tuple(
        re_path(regex.removeprefix("^/"), lambda request: None, name=f"n{number}")
        for number, regex in enumerate(regexes)
    )
    set_urlconf(patterns)
    return get_resolver(patterns)


def with_re2(regexes: list[str], table: list[Segments]) -> Callable[[str], Any]:
    re2 = importlib.import_module("re2")
    together = re2.Set.SearchSet()
    for regex in regexes:
        together.Add(regex)
    together.Compile()
    compiled = [re.compile(regex) for regex in regexes]

    def match(path: str) -> Any:
        found = together.Match(path)
        if not found:
            return None
        first = min(found)
        return first, compiled[first].match(path).groupdict()

    return match


PEERS: dict[str, Callable[[list[str], list[Segments]], Callable[[str], Any]]] = {
    "fastcore": with_compiled,
    "sequential re": with_pure,
    "routrie": with_routrie,
    "falcon": with_falcon,
    "werkzeug": with_werkzeug,
    "starlette": with_starlette,
    "django": with_django,
    "re2.Set + re": with_re2,
}
ONE_BY_ONE = {"sequential re", "starlette", "django"}
REGEX_PEERS = ("fastcore", "sequential re", "django", "re2.Set + re")


def time_of(match: Callable[[str], Any], paths: list[Any]) -> float:
    """Nanoseconds for one path, with its share of the loop."""
    begin = time.perf_counter_ns()
    for path in paths:
        match(path)
    return (time.perf_counter_ns() - begin) / len(paths)


def compare(cases: dict[str, tuple[Callable[[str], Any], list[str]]], rounds: int) -> dict[str, float]:
    """The best of some rounds for each, in turns; the first round warms up and does not count."""
    best: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, (match, paths) in cases.items():
            taken = time_of(match, paths)
            if turn:
                best[name] = min(taken, best.get(name, taken))
    return {name: round(value, 1) for name, value in best.items()}


def measure_tables(sizes: list[int], rounds: int) -> dict[str, Any]:
    outcome: dict[str, Any] = {"match": {}, "miss": {}, "awkward": {}}
    for size in sizes:
        table = make_table(size)
        regexes = [to_regex(row) for row in table]
        hits: dict[str, Any] = {}
        misses: dict[str, Any] = {}
        for name, make in PEERS.items():
            if name in ONE_BY_ONE and size > 1000:
                continue
            try:
                match = make(regexes, table)
            except Exception as error:  # a peer that is missing, or that refuses so large a table
                print(f"# {name} is left out: {error}", file=sys.stderr)
                continue
            slow = name in ONE_BY_ONE
            count = max(20, 4000 // size) if slow else 4000
            hits[name] = match, make_paths(table, count)
            misses[name] = match, make_misses(table, count)
        outcome["match"][size] = compare(hits, rounds)
        outcome["miss"][size] = compare(misses, rounds)
        print_row(f"match, {size} routes", outcome["match"][size])
        print_row(f"miss, {size} routes", outcome["miss"][size])
    for size in [number for number in sizes if number <= 1000]:
        regexes = awkward_table(size)
        cases = {}
        for name in REGEX_PEERS:
            try:
                cases[name] = PEERS[name](regexes, []), awkward_paths(size, 1000 if name not in ONE_BY_ONE else 40)
            except ImportError:
                continue
        outcome["awkward"][size] = compare(cases, rounds)
        print_row(f"awkward, {size} routes", outcome["awkward"][size])
    return outcome


def measure_growth(sizes: tuple[int, ...] = (10, 100, 1000, 10_000), rounds: int = 100) -> dict[str, Any]:
    """Nanoseconds for one match by the size of the table, in turns, and the last as a multiple of the first."""
    cases = {}
    for size in sizes:
        table = make_table(size)
        cases[str(size)] = with_compiled([to_regex(row) for row in table], table), make_paths(table, 4000)
    best = compare(cases, rounds)
    factor = best[str(sizes[-1])] / best[str(sizes[0])]
    print_row("match, sizes in turns", {f"{int(size):,} routes": value for size, value in best.items()})
    return {"ns": best, "factor": round(factor, 3)}


def measure_build(size: int = 1000) -> dict[str, float]:
    """Building the router: processor time, the best of five; what it holds after 5,000 distinct paths."""
    from fastcore.routing import Router

    table = make_table(size)
    pairs = [(to_regex(row), number) for number, row in enumerate(table)]
    best = min(_seconds(lambda: Router(pairs)) for _ in range(5))
    paths = make_paths(table, 5000)
    before = resident_bytes()
    routers = [Router(pairs) for _ in range(4)]
    for router in routers:
        for path in paths:
            router.match(path)
    each = (resident_bytes() - before) / len(routers)
    return {"build_ms": round(best * 1e3, 1), "memory_mb": round(each / 1e6, 2)}


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _seconds(act: Callable[[], object]) -> float:
    begin = time.process_time()
    act()
    return time.process_time() - begin


def measure_urls(rounds: int, size: int = 1000) -> dict[str, float]:
    """The way back: nanoseconds for one URL with one or two parameters, each call as a program writes it."""
    from fastcore.routing import Router

    table = make_table(size)
    rows = [(number, row) for number, row in enumerate(table) if any(":" in part for part in row)][:500]
    asked = []
    for number, row in rows:
        kinds = dict(reversed(part.split(":")) for part in row if ":" in part)
        asked.append((number, {name: 12345 if kind == "int" else f"some-{kind}" for name, kind in kinds.items()}))
    router = Router([(to_regex(row), number) for number, row in enumerate(table)])
    cases: dict[str, Any] = {
        "fastcore": [written_call(router.url, f"{number}, {keywords(values)}") for number, values in asked]
    }
    try:
        from werkzeug.routing import Map, Rule

        rules = [Rule(to_template(row, "<{}>"), endpoint=number) for number, row in enumerate(table)]
        adapter = Map(rules).bind("localhost")
        cases["werkzeug"] = [written_call(adapter.build, f"{number}, {values!r}") for number, values in asked]
    except ImportError:
        pass
    try:
        from django.urls import reverse

        django_resolver([to_regex(row) for row in table])
        cases["django"] = [written_call(reverse, f"'n{number}', kwargs={values!r}") for number, values in asked]
    except ImportError:
        pass
    outcome = compare({name: (lambda call: call(), calls) for name, calls in cases.items()}, rounds)
    print_row("url()", outcome)
    return outcome


def written_call(function: Callable[..., str], arguments: str) -> Callable[[], str]:
    call: Callable[[], str] = eval(f"lambda: function({arguments})", {"function": function})
    return call


def keywords(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def print_row(title: str, row: dict[str, float]) -> None:
    print(f"{title:24s}" + "  ".join(f"{name} {value:,.0f}" for name, value in row.items()), flush=True)


# -- instructions -----------------------------------------------------------------------------------------------------

_COUNTED = """
import sys
sys.path.insert(0, {here!r})
import router as bench
table = bench.make_table({size})
match = bench.with_compiled([bench.to_regex(row) for row in table], table)
paths = bench.make_paths(table, 500)
for turn in range({turns}):
    for path in paths:
        match(path)
"""


def count_instructions(size: int) -> float:
    """Instructions for one match with its share of the loop: the difference between many and few matches."""
    counts = []
    few, many = 2, 12
    for turns in (few, many):
        program = _COUNTED.format(here=str(Path(__file__).parent), size=size, turns=turns)
        environment = {"PYTHONHASHSEED": "0"}
        if turns == few:  # writes the bytecode, so that both runs read it
            subprocess.run([sys.executable, "-c", program], check=True, env=environment)
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", program]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found = re.search(r"Collected\s*:\s*(\d+)", told.stderr)
        if found is None:
            raise SystemExit(f"valgrind told no count: {told.stderr[-500:]}")
        counts.append(int(found[1]))
    paths = len(make_paths(make_table(size), 500))
    count = round((counts[1] - counts[0]) / ((many - few) * paths), 1)
    if count <= 0:
        raise SystemExit(f"more matches took fewer instructions ({counts}): something else was counted; try again")
    return count


def read_record() -> dict[str, float]:
    record: dict[str, float] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return record


def measure_instructions(check: bool) -> None:
    known = read_record()
    counted = {str(size): count_instructions(size) for size in (10, 1000)}
    print("instructions per match:", counted, "recorded:", known or "none")
    if check:
        grown = [size for size, value in counted.items() if size in known and value > known[size] * (1 + GROWTH)]
        if grown:
            raise SystemExit(f"more than {GROWTH:.0%} above the record with {', '.join(grown)} routes")
        return
    RECORD.write_text(json.dumps(counted, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", type=int, nargs="+", metavar="N")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args()
    kept = RESULTS / "router.json"
    if options.docs:
        write_page(json.loads(kept.read_text()), read_record())
        return
    if options.instructions or options.check:
        measure_instructions(options.check)
        return
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    built = measure_build()
    print(f"1,000 routes: {built['build_ms']} ms to build, {built['memory_mb']} MB")
    sizes = options.routes or [10, 100, 1000, 10_000]
    outcome = {"machine": machine, "build": built, "growth": measure_growth(), "url": measure_urls(options.rounds)}
    outcome |= measure_tables(sizes, options.rounds)
    print("\n" + show(judge(outcome, read_record())))
    if not options.routes:
        RESULTS.mkdir(exist_ok=True)
        kept.write_text(json.dumps(outcome, indent=2) + "\n")


if __name__ == "__main__":
    main()
