"""Every element of the HTML living standard as a method: `body.div("text", class_="x")` is `body.add("div", "text",
class_="x")`.

One line each, so that an editor can complete them. `del` is a word of Python's, so its method is `del_`. The same
names as functions, which make elements without a parent, are in `framework.xhtml.tags`. The widgets (`add_table` …)
are elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from framework.xhtml.implementation import tree

if TYPE_CHECKING:
    from framework.xhtml.nodes import Element


def _method(tag: str) -> Callable[..., Element]:
    method = tree.method_of(tag)
    method.__name__ = method.__qualname__ = tag
    method.__doc__ = f"Append a <{tag}> element, with content and attributes as `add` takes them, and return it."
    return method


class ElementMethods:
    """One method for each element; mixed into `Element`."""

    __slots__ = ()

    a = _method("a")
    abbr = _method("abbr")
    address = _method("address")
    area = _method("area")
    article = _method("article")
    aside = _method("aside")
    audio = _method("audio")
    b = _method("b")
    base = _method("base")
    bdi = _method("bdi")
    bdo = _method("bdo")
    blockquote = _method("blockquote")
    br = _method("br")
    button = _method("button")
    canvas = _method("canvas")
    caption = _method("caption")
    cite = _method("cite")
    code = _method("code")
    col = _method("col")
    colgroup = _method("colgroup")
    data = _method("data")
    datalist = _method("datalist")
    dd = _method("dd")
    del_ = _method("del")
    details = _method("details")
    dfn = _method("dfn")
    dialog = _method("dialog")
    div = _method("div")
    dl = _method("dl")
    dt = _method("dt")
    em = _method("em")
    embed = _method("embed")
    fieldset = _method("fieldset")
    figcaption = _method("figcaption")
    figure = _method("figure")
    footer = _method("footer")
    form = _method("form")
    h1 = _method("h1")
    h2 = _method("h2")
    h3 = _method("h3")
    h4 = _method("h4")
    h5 = _method("h5")
    h6 = _method("h6")
    header = _method("header")
    hgroup = _method("hgroup")
    hr = _method("hr")
    i = _method("i")
    iframe = _method("iframe")
    img = _method("img")
    input = _method("input")
    ins = _method("ins")
    kbd = _method("kbd")
    label = _method("label")
    legend = _method("legend")
    li = _method("li")
    link = _method("link")
    main = _method("main")
    map = _method("map")
    mark = _method("mark")
    menu = _method("menu")
    meta = _method("meta")
    meter = _method("meter")
    nav = _method("nav")
    noscript = _method("noscript")
    object = _method("object")
    ol = _method("ol")
    optgroup = _method("optgroup")
    option = _method("option")
    output = _method("output")
    p = _method("p")
    picture = _method("picture")
    pre = _method("pre")
    progress = _method("progress")
    q = _method("q")
    rp = _method("rp")
    rt = _method("rt")
    ruby = _method("ruby")
    s = _method("s")
    samp = _method("samp")
    script = _method("script")
    search = _method("search")
    section = _method("section")
    select = _method("select")
    slot = _method("slot")
    small = _method("small")
    source = _method("source")
    span = _method("span")
    strong = _method("strong")
    style = _method("style")
    sub = _method("sub")
    summary = _method("summary")
    sup = _method("sup")
    table = _method("table")
    tbody = _method("tbody")
    td = _method("td")
    template = _method("template")
    textarea = _method("textarea")
    tfoot = _method("tfoot")
    th = _method("th")
    thead = _method("thead")
    time = _method("time")
    title = _method("title")
    tr = _method("tr")
    track = _method("track")
    u = _method("u")
    ul = _method("ul")
    var = _method("var")
    video = _method("video")
    wbr = _method("wbr")
