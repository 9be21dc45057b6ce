"""Every whole page that a test writes is valid and parses back to the same tree: kept, and checked when the run ends.

What is watched are the classes in WATCHED, in this process, also in the copies that run on the other twin. A page that
`check()` has found right is kept, too, whether or not it is written. Equal pages are kept once. Tests that make wrong
pages on purpose say so, and why: `@pytest.mark.invalid_pages("its ids are any text")`.
"""

from __future__ import annotations

import functools
import hashlib
import html
import importlib.machinery
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nu_validator
import pytest

MARKER = "invalid_pages"
FOLDER = "FASTCORE_TEST_PAGES"
"""Where pages are kept; set for the workers of pytest-xdist, which share their controller's folder."""

WATCHED = {"framework.xhtml.document": "Document", "framework.errors": "ErrorPage"}
LONGEST = 1_500_000
"""Bytes of a page that is checked: a table of 100,000 rows has nothing that one of 20,000 has not."""

TOLD = 3
"""How many pages of one test are told, and how many mistakes of each page."""

OUTSIDE = "outside of a test"


class Pages:
    """The pages of one run: `<hash>.html`, and `<hash>.test` with the name of the test that wrote it first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.item: pytest.Item | None = None
        self.over = False  # what the check itself writes is not kept
        self._seen: set[str] = set()
        self._parts = itertools.count()

    @property
    def wanted(self) -> bool:
        """Whether the test that runs makes pages that are meant to be valid."""
        return not self.over and (self.item is None or self.item.get_closest_marker(MARKER) is None)

    def keep(self, data: bytes) -> None:
        """Keep a page, if it is meant to be valid."""
        if self.wanted:
            name = hashlib.sha256(data).hexdigest()[:20]
            if self._is_new(name):
                (self.folder / f"{name}.html").write_bytes(data)

    def keep_stream(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks of a page as they are taken, kept on disk: memory holds no more than without this."""
        part = self.folder / f"{os.getpid()}-{next(self._parts)}.part"
        digest = hashlib.sha256()
        try:
            with part.open("wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                    yield chunk
            name = digest.hexdigest()[:20]
            if self._is_new(name):
                part.replace(self.folder / f"{name}.html")
        finally:
            part.unlink(missing_ok=True)

    def _is_new(self, name: str) -> bool:
        new = name not in self._seen
        self._seen.add(name)
        if new:
            (self.folder / f"{name}.test").write_text(OUTSIDE if self.item is None else self.item.nodeid)
        return new

    # -- watching ----------------------------------------------------------------------------------

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """As a finder of `sys.meta_path`: a watched module is found as ever, and watched when it has been imported."""
        if name not in WATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_watch(module: Any) -> None:
                run(module)
                self.watch(getattr(module, WATCHED[name]))

            spec.loader.exec_module = run_and_watch  # type: ignore[method-assign]
        return spec

    def watch_imports(self) -> None:
        """Watch what is imported from now on, and what is imported already."""
        sys.meta_path.insert(0, self)
        for name, kind in WATCHED.items():
            if name in sys.modules:
                self.watch(getattr(sys.modules[name], kind))

    def watch(self, kind: Any) -> None:
        """Keep what objects of this class write."""
        encode = kind.encode
        if "__str__" in vars(kind):
            kind.__str__ = self._watched(kind.__str__, lambda page, text: self.keep(text.encode()))
        if "__iter__" in vars(kind):
            plain = kind.__iter__
            kind.__iter__ = functools.wraps(plain)(
                lambda page: self.keep_stream(plain(page)) if self.wanted else plain(page)
            )
        if "check" in vars(kind):
            kind.check = self._watched(kind.check, lambda page, found: found or self.keep(encode(page)))
        kind.encode = self._watched(encode, lambda page, data: self.keep(data))

    def _watched(self, method: Callable[[Any], Any], look: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(method)
        def watched(page: Any) -> Any:
            result = method(page)
            if self.wanted:
                look(page, result)
            return result

        return watched


# -- the check ----------------------------------------------------------------------------------------------


def reports(folder: Path) -> list[pytest.TestReport]:
    """What is wrong with the pages in a folder, as failures of the tests that wrote them; empty where all is well."""
    paths = sorted(path for path in folder.glob("*.html") if path.stat().st_size <= LONGEST)
    if not paths:
        return []
    try:
        wrong = all_wrong(paths)
    except pytest.skip.Exception as error:
        return [report("written pages", "skipped", (__file__, 0, f"Skipped: {error.msg}"))]
    except (RuntimeError, subprocess.TimeoutExpired) as error:  # told as one failure beside the other tests' results
        return [report("written pages", "failed", f"The pages that tests wrote were not checked: {error}")]
    by_test: dict[str, list[str]] = {}
    for path, messages in sorted(wrong.items()):
        shown = [*messages[:TOLD], f"… and {len(messages) - TOLD} more" if len(messages) > TOLD else ""]
        text = "\n".join([f"{path.name}:", *(f"  {message}" for message in shown if message)])
        by_test.setdefault(path.with_suffix(".test").read_text(), []).append(text)
    return [report(test, "failed", explained(pages)) for test, pages in by_test.items()]


def all_wrong(paths: list[Path]) -> dict[Path, list[str]]:
    """The mistakes of each page that has some."""
    wrong: dict[Path, list[str]] = {}
    forms = ("html", "xml")
    nu_validator.jar()
    with ThreadPoolExecutor(len(forms)) as pool:
        for form, told in zip(forms, pool.map(functools.partial(nu_validator.messages, paths), forms), strict=True):
            for path, message in told:
                wrong.setdefault(path, []).append(f"as {form.upper()}: {message}")
    for path in paths:
        for difference in differences(path.read_bytes()):
            wrong.setdefault(path, []).append(difference)
    return wrong


def differences(data: bytes) -> list[str]:
    """Where a page, parsed as XHTML or as HTML and written again, is not what it was."""
    from framework.xhtml.parse import ParseError, parse_document

    found = []
    for form in ("xhtml", "html"):
        try:
            again = parse_document(data, form=form, trusted=True).encode()
        except (ParseError, ValueError) as error:
            found.append(f"parsed as {form}: {error}")
            continue
        # The error page, which is no tree, writes quotation marks in ways of its own.
        if again != data and html.unescape(again.decode()) != html.unescape(data.decode()):
            place = next((n for n, (a, b) in enumerate(zip(data, again, strict=False)) if a != b), len(again))
            cut = slice(max(0, place - 40), place + 40)
            found.append(f"parsed as {form} and written again: {data[cut]!r} became {again[cut]!r}")
    return found


def explained(pages: list[str]) -> str:
    more = f"\n… and {len(pages) - TOLD} more pages" if len(pages) > TOLD else ""
    return (
        "This test wrote pages that are not valid (FASTCORE_TEST_KEEP=1 keeps them):\n" + "\n".join(pages[:TOLD]) + more
    )


def report(test: str, outcome: Any, told: Any) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=test,
        location=(test.partition("::")[0], None, test.partition("::")[2] or test),
        keywords={},
        outcome=outcome,
        longrepr=told,
        when="call",
    )
