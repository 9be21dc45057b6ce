"""What is wrong with a page, told to the programmer: with the line that made it, where development mode recorded it.

Looked for: unknown elements and attributes, wrong nesting, ids twice or missing, images without `alt`, fields without a
label, links and buttons without a name, refused URLs. Pages are written all the same. Nothing here runs in production.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator

from framework.xhtml import escape, model
from framework.xhtml.attributes import value_text
from framework.xhtml.names import (
    HTML_ELEMENTS,
    MATHML_ELEMENTS,
    SVG_ELEMENTS,
    URL_ATTRIBUTES,
    VOID_ELEMENTS,
)
from framework.xhtml.nodes import Element

MAX_PROBLEMS = 100
"""How many problems of one page are told."""


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. origin: file and line of the call that made the element, where they are known."""

    message: str
    origin: tuple[str, int] | None = None

    def __str__(self) -> str:
        return f"{self.origin[0]}:{self.origin[1]}: {self.message}" if self.origin else self.message


def check(top: Element) -> list[Problem]:
    """All problems of a tree, in document order; at most `MAX_PROBLEMS`.

    >>> check(page.html)
    [Problem(message='<img> has no alt: …', origin=('pages.py', 12))]
    """
    problems: list[Problem] = []
    for problem in _all(top):
        problems.append(problem)
        if len(problems) == MAX_PROBLEMS:
            break
    return problems


def _all(top: Element) -> Iterator[Problem]:
    ids: dict[str, Element] = {}
    for element in top.walk():
        if element.id is None:
            continue
        if not element.id or element.id.split() != [element.id]:
            yield _problem(element, f"the id {element.id!r} is empty or has white space in it")
        first = ids.setdefault(element.id, element)
        if first is not element:
            line = f" (the other is made at {first.origin[0]}:{first.origin[1]})" if hasattr(first, "origin") else ""
            yield _problem(element, f"the id {element.id!r} is there twice{line}")
    labelled = {
        value_text(label.get("for")) for label in top.walk() if label.tag == "label" and label.get("for") is not None
    }
    for element in top.walk():
        if _in_foreign(element):
            continue
        yield from _known(element)
        yield from _nested(element)
        yield from _references(element, ids, top.tag == "html")
        yield from _urls(element)
        yield from _accessible(element, labelled)
    if top.tag == "html":
        yield from _page(top)


def _problem(element: Element, message: str) -> Problem:
    return Problem(message, getattr(element, "origin", None))


def _in_foreign(element: Element) -> bool:
    """Within SVG or MathML, whose own rules are not looked at."""
    node = element.parent
    while node is not None and node.tag != "foreignObject":
        if node.tag in ("svg", "math"):
            return True
        node = node.parent
    return element.tag in ("svg", "math")


def _nearest(word: str, words: frozenset[str]) -> str:
    found = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


# -- names --------------------------------------------------------------------------------------------------


def _known(element: Element) -> Iterator[Problem]:
    tag = element.tag
    if tag in model.OBSOLETE:
        yield _problem(element, f"<{tag}> is obsolete; use {model.OBSOLETE[tag]}")
        return
    if tag not in HTML_ELEMENTS:
        if tag in SVG_ELEMENTS or tag in MATHML_ELEMENTS:
            yield _problem(element, f"<{tag}> belongs within <{'svg' if tag in SVG_ELEMENTS else 'math'}>")
        elif "-" not in tag:
            yield _problem(element, f"there is no element <{tag}>{_nearest(tag, HTML_ELEMENTS)}")
        return
    known = model.GLOBAL_ATTRIBUTES | model.ATTRIBUTES.get(tag, model.NOTHING)
    for name, value in (element._attributes or {}).items():
        if name in known or name.startswith(("data-", "on")) or value is None or value is False:
            continue
        if name.startswith("aria-"):
            if name not in model.ARIA_ATTRIBUTES:
                yield _problem(element, f"there is no {name!r}{_nearest(name, model.ARIA_ATTRIBUTES)}")
        else:
            yield _problem(element, f"<{tag}> has no attribute {name!r}{_nearest(name, known)}")
    if tag == "input":
        kind = value_text(element.get("type") or "text").lower()
        for name, value in (element._attributes or {}).items():
            if value is not None and value is not False and kind not in model.INPUT_TYPES.get(name, (kind,)):
                yield _problem(element, f'{name!r} means nothing for <input type="{kind}">')


# -- nesting ------------------------------------------------------------------------------------------------


def _allowed(element: Element) -> frozenset[str] | None:
    """The elements that may be children; None: not known."""
    extra: frozenset[str] = model.NOTHING
    node: Element | None = element
    while node is not None and node.tag in model.TRANSPARENT:
        extra |= model.EXTRA_CHILDREN.get(node.tag, model.NOTHING)
        node = node.parent
    if node is None:
        return None
    if node.tag == "div" and node.parent is not None and node.parent.tag == "dl":
        return frozenset(["dt", "dd"])
    allowed = model.CHILDREN.get(node.tag)
    return None if allowed is None else allowed | extra


def _nested(element: Element) -> Iterator[Problem]:
    tag = element.tag
    if tag in VOID_ELEMENTS or tag == "template":
        return
    allowed = _allowed(element)
    if allowed is not None:
        for child in element.elements:
            known = child.tag in HTML_ELEMENTS or child.tag in ("svg", "math")
            if known and child.tag not in allowed and (child.tag not in model.ANYWHERE or allowed is model.NOTHING):
                yield _problem(child, f"<{child.tag}> cannot stand in <{tag}>{_place(child.tag)}")
    if tag in model.WITHOUT_TEXT and any(isinstance(child, str) and child.strip() for child in element._children):
        yield _problem(element, f"<{tag}> holds elements only, and here is text")
    if tag == "table" and any(child.tag == "tr" for child in element.elements):
        yield _problem(element, "<tr> right in <table>: an HTML parser puts a <tbody> around it; write one")
    yield from _ancestors(element)


def _place(tag: str) -> str:
    places = sorted(parent for parent, children in model.CHILDREN.items() if tag in children)
    return f"; it belongs in {', '.join(f'<{place}>' for place in places)}" if 0 < len(places) <= 4 else ""


def _ancestors(element: Element) -> Iterator[Problem]:
    tag = element.tag
    node = element.parent
    if tag == "input" and element.get("type") == "hidden":
        return
    while node is not None:
        if tag in model.EXCLUDED.get(node.tag, model.NOTHING):
            yield _problem(element, f"<{tag}> cannot stand anywhere within <{node.tag}>")
            return
        node = node.parent


# -- references and URLs ------------------------------------------------------------------------------------


def _references(element: Element, ids: dict[str, Element], whole: bool) -> Iterator[Problem]:
    if not whole:
        return
    known = frozenset(ids)
    for name, value in (element._attributes or {}).items():
        if value is None or value is False:
            continue
        wanted: list[str] = []
        if name in model.REFERENCES:
            wanted = value_text(value).split()
        elif name == "href" and isinstance(value, str) and value.startswith("#") and value not in ("#", "#top"):
            wanted = [value[1:]]
        for id in wanted:
            if id not in ids:
                yield _problem(element, f"{name} names the id {id!r}, which is not there{_nearest(id, known)}")


def _urls(element: Element) -> Iterator[Problem]:
    image = element.tag in ("img", "input", "source", "video")
    for name, value in (element._attributes or {}).items():
        if name not in URL_ATTRIBUTES or not isinstance(value, str):
            continue
        if escape.url(value, image=image) is escape.REFUSED_URL:
            yield _problem(element, f"the URL {value!r:.60} would run a script and is not written; see Trusted")


# -- accessibility ------------------------------------------------------------------------------------------


def _accessible(element: Element, labelled: set[str]) -> Iterator[Problem]:
    tag = element.tag
    kind = str(element.get("type", "text"))
    needs_alt = tag == "img" or (tag == "area" and element.get("href")) or (tag == "input" and kind == "image")
    if needs_alt and element.get("alt") is None:
        yield _problem(element, f'<{tag}> has no alt: say what it shows, or alt="" where it is decoration')
    if _named(element):
        return
    field = tag in ("select", "textarea") or (tag == "input" and kind not in model.UNLABELLED_INPUTS)
    if field or tag in ("meter", "progress"):
        if (element.id or "") not in labelled and element.closest("label") is None:
            name = f" name={element.get('name')!r}" if field else ""
            yield _problem(element, f"<{tag}{name}> has no label: add a <label for=…>, or aria_label")
    elif tag == "button" or (tag == "a" and element.get("href") is not None):
        if not element.text.strip() and not _image_within(element):
            yield _problem(element, f"<{tag}> has no text that says what it does")
    elif tag == "iframe":
        yield _problem(element, "<iframe> has no title")


def _named(element: Element) -> bool:
    return any(element.get(name) for name in ("aria-label", "aria-labelledby", "title"))


def _image_within(element: Element) -> bool:
    return any(
        (child.tag == "img" and child.get("alt")) or (child.tag == "svg" and (_named(child) or child.find("title")))
        for child in element.walk()
    )


def _page(html: Element) -> Iterator[Problem]:
    if not html.get("lang"):
        yield _problem(html, "the document does not say its language (lang)")
    title = html.find("head > title")
    if title is None or not title.text.strip():
        yield _problem(title or html, "the document has no title")
    if len([element for element in html.walk() if element.tag == "main" and not element.get("hidden")]) > 1:
        yield _problem(html, "the document has more than one <main>")
    level = 0
    for element in html.walk():
        if len(element.tag) == 2 and element.tag[0] == "h" and element.tag[1].isdigit():
            before, level = level, int(element.tag[1])
            if level > before + 1 and before:
                yield _problem(element, f"<h{level}> follows <h{before}>: a heading level is left out")
        if element.tag == "noscript":
            yield _problem(element, "<noscript> means nothing in XHTML; write the page so that a script adds to it")
