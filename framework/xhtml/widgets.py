"""Widgets: what a page is made of, one method each, above the elements.

Mixed into `Element`, so every element can take every widget. Each method appends and returns the new element. Tables,
forms and charts have rooms of their own, imported when first used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

    from framework.xhtml.forms import Form
    from framework.xhtml.nodes import Comment, Content, Element


class Widgets:
    """The `add_…` methods of an element."""

    __slots__ = ()

    if TYPE_CHECKING:

        def add(self, tag: str, /, *content: Content, **attributes: Any) -> Element: ...

        def append(self, *content: Content) -> Any: ...

    def add_comment(self, text: str) -> Comment:
        """Append a comment; whatever its text, it stays one."""
        from framework.xhtml.nodes import Comment

        comment = Comment(text)
        self.append(comment)
        return comment

    def add_heading(self, level: int, *content: Content, **attributes: Any) -> Element:
        """Append a heading of level 1 to 6; ValueError for another level."""
        if level not in range(1, 7):
            raise ValueError(f"a heading has a level from 1 to 6, not {level!r}")
        return self.add(f"h{level}", *content, **attributes)

    def add_paragraph(self, *content: Content, **attributes: Any) -> Element:
        """Append a paragraph."""
        return self.add("p", *content, **attributes)

    def add_preformatted(self, *content: Content, **attributes: Any) -> Element:
        """Append text whose spaces and line breaks are kept."""
        return self.add("pre", *content, **attributes)

    def add_section(
        self, heading: Content = None, *content: Content, level: int = 2, tag: str = "section", **attributes: Any
    ) -> Element:
        """Append a section, with a heading of the given level where there is one.

        tag: `section`, or `article`, `aside`, `div`, `header`, `footer`, `main`.

        >>> disks = page.body.add_section("Disks")
        """
        section = self.add(tag, **attributes)
        if heading is not None:
            section.add_heading(level, heading)
        section.append(*content)
        return section

    def add_list(
        self, items: Iterable[Any] | Mapping[Any, Any], *, ordered: bool = False, **attributes: Any
    ) -> Element:
        """Append a list. An item that is itself a list or tuple becomes a list within the item before it; a mapping
        gives items with a list of the value's items within.

        >>> page.body.add_list(["fruit", ["apple", "pear"], "bread"])
        >>> page.body.add_list({"fruit": ["apple", "pear"], "bread": []})
        """
        tag = "ol" if ordered else "ul"
        element = self.add(tag, **attributes)
        if isinstance(items, Mapping):
            for key, value in items.items():
                item = element.add("li", key)
                if isinstance(value, (list, tuple, Mapping)):
                    if value:
                        item.add_list(value, ordered=ordered)
                elif value is not None:
                    item.append(": ", value)
            return element
        item_before: Element | None = None
        for entry in items:
            if isinstance(entry, (list, tuple, Mapping)):
                if item_before is None:
                    item_before = element.add("li")
                item_before.add_list(entry, ordered=ordered)
            else:
                item_before = element.add("li", entry)
        return element

    def add_definition_list(self, items: Mapping[Any, Any] | Iterable[tuple[Any, Any]], **attributes: Any) -> Element:
        """Append terms with their descriptions; a description that is a list gives several.

        >>> page.body.add_definition_list({"Model": "X1", "Addresses": ["10.0.0.2", "fe80::1"]})
        """
        element = self.add("dl", **attributes)
        for term, descriptions in items.items() if isinstance(items, Mapping) else items:
            element.add("dt", term)
            for description in descriptions if isinstance(descriptions, (list, tuple)) else [descriptions]:
                element.add("dd", description)
        return element

    def add_anchor(
        self, content: Content, href: Any, *, params: Mapping[str, Any] | None = None, **attributes: Any
    ) -> Element:
        """Append a link. href: a URL, or a handler: then the document's `get_url` gives the URL for it and `params`.

        A URL that would run a script is not written. A link that opens elsewhere (`target`) gets `rel="noopener"`.

        >>> page.body.add_anchor("Disks", "/status/disks")
        >>> page.body.add_anchor("Disk sda", disk_handler, params={"name": "sda"})
        """
        attributes = {"href": self._resolve(href, params), **attributes}
        if attributes.get("target") and "rel" not in attributes:
            attributes["rel"] = "noopener"
        return self.add("a", content, **attributes)

    def _resolve(self, href: Any, params: Mapping[str, Any] | None) -> Any:
        """The URL for what may be a handler."""
        if not callable(href) and params is None:
            return href
        root: Any = getattr(self, "root", None)
        get_url = getattr(root, "get_url", None)
        if get_url is None and root is not None and not hasattr(type(root), "get_url"):
            raise ValueError(
                f"{href!r} is a handler, whose URL is known only where a Document(get_url=request.get_url) is: "
                f"let the <{root.tag}> stand in it first, or give the URL"
            )
        if get_url is None:
            raise ValueError(
                f"{href!r} is a handler, and this page does not know how to find its URL: "
                "make it with Document(get_url=request.get_url), or give the URL"
            )
        return get_url(href, **(params or {}))

    def add_navigation(
        self,
        links: Iterable[Any],
        *,
        label: str,
        current: str | None = None,
        **attributes: Any,
    ) -> Element:
        """Append a list of links as a navigation landmark.

        links: (content, URL or handler), or (content, handler, params). label: what this navigation is called, for
        those who hear the page. current: the URL of the page at hand, marked by `aria-current`.

        >>> page.body.add_navigation([("Overview", "/"), ("Disks", "/disks")], label="Main", current="/disks")
        """
        navigation = self.add("nav", aria_label=label, **attributes)
        element = navigation.add("ul")
        for content, href, *params in links:
            url = navigation._resolve(href, params[0] if params else None)
            element.add("li").add("a", content, href=url, aria_current="page" if url == current else None)
        return navigation

    def add_image(
        self, src: Any, alt: str, *, width: int | None = None, height: int | None = None, **attributes: Any
    ) -> Element:
        """Append an image. alt: what it tells those who do not see it; "" for decoration. width, height: in pixels."""
        return self.add("img", src=src, alt=alt, width=width, height=height, **attributes)

    def add_figure(self, content: Content, caption: Content = None, **attributes: Any) -> Element:
        """Append a figure: content (an image, a chart, code) with a caption."""
        figure = self.add("figure", content, **attributes)
        if caption is not None:
            figure.add("figcaption", caption)
        return figure

    def add_details(self, summary: Content, *content: Content, open: bool = False, **attributes: Any) -> Element:
        """Append content that opens and closes below a summary; works without a script."""
        element = self.add("details", open=open, **attributes)
        element.add("summary", summary)
        element.append(*content)
        return element

    def calls(self, function: Any, /, *arguments: Any, **options: Any) -> Self:
        """Let this button or form call a remote function, without a line of JavaScript; returns the element.

        function: one of a `framework.rpc.Proxy` among the page's handlers. arguments: fixed, by position. named: fixed,
        by name. fields: whether the form's fields are arguments, by their names (a form's are, by default).
        confirm: what is asked before. done: what is told afterwards; else it is the result. output, progress: the
        elements that show the result and how far it has come (`Progress`); else an <output> is added. reload: whether
        the page is loaded again afterwards.

        It stands in a document with `get_url`. Raises TypeError for what is no remote function or no argument.

        >>> page.body.add("button", "Restart").calls(proxy.restart, "nginx", confirm="Restart nginx?")
        >>> form.calls(proxy.add_user, done="Added.", reload=True)
        """
        from framework.xhtml.calling import bind_call

        element: Any = self
        bind_call(element, function, arguments, **options)
        return self

    def add_progress(
        self, label: Content, value: float | None = None, maximum: float = 1, **attributes: Any
    ) -> Element:
        """Append a progress bar with its label; value None: how far is not known. Returns the <progress> element."""
        shown = None if value is None else min(max(value, 0), maximum)
        return self._labelled("progress", label, {"value": shown, "max": maximum, **attributes}, _share(value, maximum))

    def add_meter(
        self,
        label: Content,
        value: float,
        *,
        minimum: float = 0,
        maximum: float = 1,
        text: str | None = None,
        **attributes: Any,
    ) -> Element:
        """Append a gauge with its label. text: what is shown beside it, the share in per cent by default; `low`,
        `high` and `optimum` colour it. Returns the <meter> element."""
        shown = _share(value - minimum, maximum - minimum) if text is None else text
        parts = {name: attributes.pop(name) for name in ("low", "high", "optimum") if attributes.get(name) is not None}
        inside = {name: min(max(part, minimum), maximum) for name, part in {"value": value, **parts}.items()}
        given = {"value": None, "min": minimum, "max": maximum}
        return self._labelled("meter", label, {**given, **inside, **attributes}, shown)

    def _labelled(self, tag: str, label: Content, attributes: dict[str, Any], shown: str) -> Element:
        box = self.add("label", class_=f"gauge {tag}")
        box.add("span", label, class_="gauge-label")
        element = box.add(tag, shown or None, **attributes)
        if shown:
            box.add("span", shown, class_="gauge-value", aria_hidden=True)
        return element

    def add_status(self, *content: Content, kind: str = "info", **attributes: Any) -> Element:
        """Append a short message. kind: `info`, `success`, `warning` or `error`; the last two are read out at once."""
        if kind not in ("info", "success", "warning", "error"):
            raise ValueError(f"a message is of the kind info, success, warning or error, not {kind!r}")
        role = "alert" if kind in ("warning", "error") else "status"
        return self.add("p", *content, **{"class_": ["message", kind], "role": role, **attributes})

    def add_table(self, rows: Any, **options: Any) -> Element:
        """Append a table; see `framework.xhtml.tables.build_table` for the options.

        >>> page.body.add_table([("sda", 42)], headings=("Disk", "Used"), caption="Disks")
        """
        from framework.xhtml.tables import build_table

        table = build_table(rows, **options)
        self.append(table)
        return table

    def add_scroll_area(self, label: str, **attributes: Any) -> Element:
        """Append a box that scrolls sideways by itself, also by the keyboard: for a table wider than a small screen.

        >>> page.body.add_scroll_area("Processes").add_table(processes)
        """
        return self.add(
            "div", **{"class_": "scroll", "role": "region", "tabindex": 0, "aria_label": label, **attributes}
        )

    def add_form(self, action: Any = "", **options: Any) -> Form:
        """Append a form; see `framework.xhtml.forms.Form` for the options and the fields.

        >>> form = page.body.add_form("/notes/add", values=request.form, errors={"title": "is empty"})
        >>> form.add_text("title", "Title", required=True)
        >>> form.add_submit("Save")
        """
        from framework.xhtml.forms import Form

        form = Form(action, **options)
        self.append(form)
        form.settle()
        return form

    def add_sparkline(self, values: Sequence[float | None], **options: Any) -> Element:
        """Append a small line without axes; see `framework.xhtml.charts.sparkline`."""
        return self._chart("sparkline", values, options)

    def add_line_chart(self, series: Any, **options: Any) -> Element:
        """Append a line chart; see `framework.xhtml.charts.line_chart`."""
        return self._chart("line_chart", series, options)

    def add_bar_chart(self, values: Any, **options: Any) -> Element:
        """Append a bar chart; see `framework.xhtml.charts.bar_chart`."""
        return self._chart("bar_chart", values, options)

    def _chart(self, name: str, values: Any, options: dict[str, Any]) -> Element:
        from framework.xhtml import charts

        make: Callable[..., Element] = getattr(charts, name)
        chart = make(values, **options)
        self.append(chart)
        return chart


def _share(value: float | None, whole: float) -> str:
    return "" if value is None or not whole else f"{100 * value / whole:.0f} %"
