"""Forms: labels tied to their inputs, values and errors filled in, accessible as they come.

A `Form` holds what was typed (`values`) and what was wrong with it (`errors`); each field takes its own by name.
Field sets and groups within a form have the same methods. Checking what was sent is not done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from framework.xhtml.attributes import label_of
from framework.xhtml.formats import FORMATS, TYPED_ONLY, sent
from framework.xhtml.nodes import Content, Element

if TYPE_CHECKING:
    from framework.xhtml.nodes import Element as Wrapper


class FormState:
    """What the fields of one form share."""

    __slots__ = ("errors", "prefix", "used", "values")

    def __init__(self, values: Any, errors: Mapping[str, Any], prefix: str) -> None:
        self.values = values
        self.errors = errors
        self.prefix = prefix
        self.used: set[str] = set()

    def id_for(self, name: str) -> str:
        """An id that no other field of the form has."""
        base = f"{self.prefix}-{''.join(c if c.isalnum() or c in '-_' else '-' for c in name)}"
        id, number = base, 2
        while id in self.used:
            id, number = f"{base}-{number}", number + 1
        self.used.add(id)
        return id

    def value(self, name: str, given: Any) -> Any:
        """What was typed for a name, else what the caller gave."""
        if name in self.values:
            return self.values[name]
        return given

    def chosen(self, name: str, given: Iterable[Any]) -> set[str]:
        """All that was chosen for a name, as the form sends it."""
        getlist = getattr(self.values, "getlist", None)
        if getlist is not None:
            found = list(getlist(name))
            return set(map(sent, found)) if found or len(self.values) else set(map(sent, given))
        value = self.values.get(name, given)
        if isinstance(value, (list, tuple, set, frozenset)):
            return set(map(sent, value))
        return set() if value is None else {sent(value)}


class _Attributes:
    """The attributes of an object as the values of a form."""

    __slots__ = ("_object",)

    def __init__(self, values: Any) -> None:
        self._object = values

    def __contains__(self, name: str) -> bool:
        missing = _Attributes  # callable, as methods are, which are no values
        return not name.startswith("_") and not callable(getattr(self._object, name, missing))

    def __getitem__(self, name: str) -> Any:
        return getattr(self._object, name)

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self._object, name) if name in self else default


class FormPart(Element):
    """A part of a form: takes fields. `Form`, `add_fieldset` and `add_group` give one."""

    __slots__ = ("state",)

    state: FormState

    def _copy_into(self, copy: Element) -> None:
        super()._copy_into(copy)
        if isinstance(copy, FormPart):
            copy.state = self.state

    def _part(self, tag: str, **attributes: Any) -> FormPart:
        part = FormPart(tag, **attributes)
        part.state = self.state
        self.append(part)
        return part

    def add_fieldset(self, legend: Content, **attributes: Any) -> FormPart:
        """Append a group of fields under a legend."""
        part = self._part("fieldset", **attributes)
        part.add("legend", legend)
        return part

    def add_group(self, **attributes: Any) -> FormPart:
        """Append a <div> that takes fields, for layout."""
        return self._part("div", **attributes)

    # -- one line ----------------------------------------------------------------------------------

    def add_input(
        self,
        name: str,
        label: Content,
        value: Any = None,
        *,
        type: str = "text",
        help: Content = None,
        **attributes: Any,
    ) -> Element:
        """Append a labelled input of any type and return the <input>.

        value: what stands in it unless the form has a value of that name. help: a hint below it. attributes: those of
        the input (`required=True`, `autocomplete="name"`, `min=0` …). An error of that name is shown and tied to it.
        A text that an input of this type cannot hold ("noon" as a time) stands in a line of text, so that it can be
        put right; a browser would show nothing.
        """
        box, id = self._field(name, label, attributes, help)
        for bound in ("min", "max"):
            if type in FORMATS and attributes.get(bound) is not None:
                attributes[bound] = FORMATS[type].text(attributes[bound])
        shown = self.state.value(name, value)
        if shown is None or type in ("password", "file"):
            text = None
        elif type in FORMATS:
            text = FORMATS[type].text(shown)
            if not text and type == "range":
                text = None
            elif text and not FORMATS[type].holds(text, several=bool(attributes.get("multiple"))):
                attributes = FORMATS[type].attributes | {k: v for k, v in attributes.items() if k not in TYPED_ONLY}
                type = "text"
        else:
            text = sent(shown)
        if text is not None and type != "hidden" and ("\n" in text or "\r" in text):
            text = " ".join(text.split())  # a line of text holds none, and a browser would join the words
        element = Element("input", type=type, id=id, name=name, value=text, **attributes)
        self._finish(box, element, name, id, help)
        return element

    def add_text(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a line of text; options as for `add_input`, here and below."""
        return self.add_input(name, label, value, type="text", **options)

    def add_password(self, name: str, label: Content, **options: Any) -> Element:
        """Append a password; what was typed is never written back."""
        return self.add_input(name, label, None, type="password", **options)

    def add_email(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append an e-mail address."""
        return self.add_input(name, label, value, type="email", **options)

    def add_url(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a URL."""
        return self.add_input(name, label, value, type="url", **options)

    def add_tel(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a telephone number."""
        return self.add_input(name, label, value, type="tel", **options)

    def add_search(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a search."""
        return self.add_input(name, label, value, type="search", **options)

    def add_number(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a number (`min`, `max`, `step`)."""
        return self.add_input(name, label, value, type="number", **options)

    def add_range(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a slider (`min`, `max`, `step`)."""
        return self.add_input(name, label, value, type="range", **options)

    def add_date(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a date."""
        return self.add_input(name, label, value, type="date", **options)

    def add_time(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a time of day."""
        return self.add_input(name, label, value, type="time", **options)

    def add_datetime(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a date and time, without a zone."""
        return self.add_input(name, label, value, type="datetime-local", **options)

    def add_month(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a month."""
        return self.add_input(name, label, value, type="month", **options)

    def add_week(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a week."""
        return self.add_input(name, label, value, type="week", **options)

    def add_color(self, name: str, label: Content, value: Any = None, **options: Any) -> Element:
        """Append a colour."""
        return self.add_input(name, label, value, type="color", **options)

    def add_file(self, name: str, label: Content, **options: Any) -> Element:
        """Append a file to send (`accept`, `multiple`); the form is then sent as `multipart/form-data`."""
        form: Any = self.closest("form")
        if form is not None:
            form.set(enctype="multipart/form-data")
        return self.add_input(name, label, None, type="file", **options)

    def add_hidden(self, name: str, value: Any) -> Element:
        """Append a value that is sent and not shown; always the caller's value, never what was sent."""
        return self.add("input", type="hidden", name=name, value=sent(value))

    # -- more than a line --------------------------------------------------------------------------

    def add_textarea(
        self, name: str, label: Content, value: Any = None, *, rows: int = 5, help: Content = None, **attributes: Any
    ) -> Element:
        """Append a field of several lines and return the <textarea>."""
        box, id = self._field(name, label, attributes, help)
        shown = self.state.value(name, value)
        element = Element("textarea", None if shown is None else sent(shown), id=id, name=name, rows=rows, **attributes)
        self._finish(box, element, name, id, help)
        return element

    def add_select(
        self,
        name: str,
        label: Content,
        options: Any,
        value: Any = None,
        *,
        multiple: bool = False,
        prompt: str | None = None,
        help: Content = None,
        **attributes: Any,
    ) -> Element:
        """Append a choice from a list and return the <select>.

        options: an Enum class, texts, pairs (value, label), or a mapping of value → label or of group label → options.
        prompt: a first choice that stands for none; "Choose one" where the choice is required.
        """
        box, id = self._field(name, label, attributes, help)
        element = Element("select", id=id, name=name, multiple=multiple, **attributes)
        several = multiple and isinstance(value, (list, tuple, set, frozenset))
        chosen = self.state.chosen(name, value if several else () if value is None else (value,))
        if prompt is None and attributes.get("required") and not multiple and int(attributes.get("size") or 1) == 1:
            prompt = "Choose one"  # without it, the first is chosen by itself (HTML §4.10.7)
        if prompt is not None:
            element.add("option", prompt, value="")
        for group, entries in groups(options):
            target = element if group is None else element.add("optgroup", label=group)
            for entry, text in pairs(entries):
                target.add("option", text, value=sent(entry), selected=sent(entry) in chosen)
        self._finish(box, element, name, id, help)
        return element

    def add_checkbox(
        self,
        name: str,
        label: Content,
        checked: bool = False,
        *,
        value: str = "on",
        help: Content = None,
        **attributes: Any,
    ) -> Element:
        """Append one box to tick and return the <input>. A form that was sent without it leaves it open."""
        box, id = self._field(name, None, attributes, help, class_="field choice")
        ticked = value in self.state.chosen(name, (value,) if checked else ())
        element = Element("input", type="checkbox", id=id, name=name, value=value, checked=ticked, **attributes)
        label = Element("label", element, " ", Element("span", label), for_=id)
        box.append(label)
        if attributes.get("required"):
            label.append(" ", _required())
        self._finish(box, element, name, id, help, place=False)
        return element

    def add_radio_group(
        self, name: str, legend: Content, options: Any, value: Any = None, *, help: Content = None, **attributes: Any
    ) -> FormPart:
        """Append one choice among several, all in sight; options as for `add_select`. Returns the <fieldset>."""
        return self._choices("radio", name, legend, options, () if value is None else (value,), help, attributes)

    def add_checkbox_group(
        self,
        name: str,
        legend: Content,
        options: Any,
        values: Iterable[Any] | None = (),
        *,
        help: Content = None,
        **attributes: Any,
    ) -> FormPart:
        """Append boxes of which any number can be ticked, all sent under one name. Returns the <fieldset>."""
        if attributes.get("required"):
            raise ValueError(
                "HTML cannot ask for one box among several: each would have to be ticked; look when it is sent"
            )
        return self._choices("checkbox", name, legend, options, tuple(values or ()), help, attributes)

    def _choices(
        self, type: str, name: str, legend: Content, options: Any, given: Any, help: Content, attributes: dict[str, Any]
    ) -> FormPart:
        chosen = self.state.chosen(name, given)
        group = self.add_fieldset(legend, class_="choices")
        if attributes.get("required"):
            group.elements[0].append(" ", _required())
        for entry, text in pairs(options):
            id = self.state.id_for(f"{name}-{sent(entry)}")
            element = Element(
                "input", type=type, id=id, name=name, value=sent(entry), checked=sent(entry) in chosen, **attributes
            )
            group.add("div", class_="choice").append(Element("label", element, " ", Element("span", text), for_=id))
        notes = self._notes(group, name, self.state.id_for(f"{name}-group"), help)
        group.set(aria_describedby=notes or None)
        return group

    # -- buttons -----------------------------------------------------------------------------------

    def add_submit(
        self, text: Content = "Send", name: str | None = None, value: Any = None, **attributes: Any
    ) -> Element:
        """Append a button that sends the form; with a name, also which button it was."""
        return self._button("submit", text, name=name, value=None if value is None else sent(value), **attributes)

    def add_reset(self, text: Content = "Reset", **attributes: Any) -> Element:
        """Append a button that puts everything back."""
        return self._button("reset", text, **attributes)

    def add_button(self, text: Content, **attributes: Any) -> Element:
        """Append a button that does nothing by itself; a script module listens to it."""
        return self._button("button", text, **attributes)

    def _button(self, type: str, text: Content, **attributes: Any) -> Element:
        last = self._children[-1] if self._children else None
        box = last if isinstance(last, Element) and "buttons" in last.classes else self.add("p", class_="buttons")
        return box.add("button", text, type=type, **attributes)

    # -- the parts of a field ----------------------------------------------------------------------

    def _field(
        self, name: str, label: Content, attributes: dict[str, Any], help: Content, class_: str = "field"
    ) -> tuple[Wrapper, str]:
        id = str(attributes.pop("id", None) or self.state.id_for(name))
        wrong = name in self.state.errors
        box = self.add("div", class_=[class_, "wrong" if wrong else None])
        if label is not None:
            tag = box.add("label", label, for_=id)
            if attributes.get("required"):
                tag.append(" ", _required())
        return box, id

    def _finish(self, box: Element, element: Element, name: str, id: str, help: Content, place: bool = True) -> None:
        if place:
            box.append(element)
        notes = self._notes(box, name, id, help)
        if notes:
            element.set(aria_describedby=notes)
        if name in self.state.errors:
            element.set(aria_invalid=True)

    def _notes(self, box: Element, name: str, id: str, help: Content) -> list[str]:
        notes = []
        if help is not None:
            box.add("p", help, class_="help", id=f"{id}-help")
            notes.append(f"{id}-help")
        if name in self.state.errors:
            error = self.state.errors[name]
            text = " ".join(map(str, error)) if isinstance(error, (list, tuple)) else error
            box.add("p", text, class_="error", id=f"{id}-error")
            notes.append(f"{id}-error")
        return notes


class Form(FormPart):
    """A form.

    action: a URL, or a handler with its `params` (see `add_anchor`); "" sends it to the page's own URL. method:
    `post` or `get`. values: what was typed, a mapping from names, with `getlist(name)` where a name can come more
    than once; or an object whose attributes they are. errors: a mapping from names to what is wrong (a text or
    several). prefix: what the ids begin with; unique in the document by default.
    """

    __slots__ = ("_params",)

    _params: Mapping[str, Any] | None

    def __init__(
        self,
        action: Any = "",
        *,
        method: str = "post",
        values: Any = None,
        errors: Mapping[str, Any] | None = None,
        prefix: str | None = None,
        params: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> None:
        if method not in ("get", "post", "dialog"):
            raise ValueError(f"a form's method is get, post or dialog, not {method!r}")
        # An empty action is not allowed; leaving it out means the same (HTML §4.10.18.6).
        if errors is not None and not hasattr(errors, "items"):
            raise TypeError(f"errors are a mapping from names of fields to what is wrong, not {errors!r:.60}")
        if values is not None and not (hasattr(values, "__getitem__") and hasattr(values, "get")):
            values = dict(values) if hasattr(values, "keys") else _Attributes(values)
        super().__init__("form", action=action if action != "" else None, method=method, **attributes)
        self._params = params
        self.state = FormState(values if values is not None else {}, errors or {}, prefix or self.id or "")

    def _copy_into(self, copy: Element) -> None:
        super()._copy_into(copy)
        if isinstance(copy, Form):
            copy._params = self._params

    def settle(self) -> None:
        """Find the action's URL and a prefix for ids, once the form stands in its document."""
        action = self.get("action")
        if callable(action) or self._params is not None:
            self.set(action=self._resolve(action, self._params))
        if not self.state.prefix:
            root: Any = self.root
            if hasattr(type(root), "forms"):
                number = root.forms = root.forms + 1
            else:
                counted = _forms_of_parts.get(root)
                number = _forms_of_parts[root] = _count_forms(root) if counted is None else counted + 1
            self.state.prefix = "field" if number == 1 else f"field{number}"

    def add_error_summary(self, heading: Content = "Please check what you typed", **attributes: Any) -> Element | None:
        """Append a list of all errors, each a link to its field; nothing and None where there is none.

        Add it behind the fields; it is put first. Labels stand for the names.
        """
        if not self.state.errors:
            return None
        box = Element("div", class_="message error", role="alert", **attributes)
        box.add("p", heading)
        items = box.add("ul")
        for name, error in self.state.errors.items():
            field = next((e for e in self.walk() if e.get("name") == name and e.id), None)
            text = " ".join(map(str, error)) if isinstance(error, (list, tuple)) else error
            label = self._label_of(field)
            shown = f"{label}: {text}" if label else text
            item = items.add("li")
            if field is not None:
                item.add("a", shown, href=f"#{field.id}")
            else:
                item.append(shown)
        self.prepend(box)
        return box

    def _label_of(self, field: Element | None) -> str:
        if field is None:
            return ""
        group = field.closest("fieldset.choices")
        if group is not None:
            legend = group.find("legend")
            return "" if legend is None else _without_mark(legend)
        for label in self.walk():
            if label.tag == "label" and label.get("for") == field.id:
                return _without_mark(label)
        return ""


_forms_of_parts: WeakKeyDictionary[Element, int] = WeakKeyDictionary()
"""How many forms there are in parts of pages, by their roots."""


def _count_forms(root: Element) -> int:
    """The forms below an element, without those of rows that are not made yet."""
    from framework.xhtml.rows import Rows

    number, stack = 0, [root]
    while stack:
        element = stack.pop()
        number += element.tag == "form"
        if not isinstance(element, Rows):
            stack.extend(child for child in element._children if isinstance(child, Element))
    return number


def _without_mark(label: Element) -> str:
    return "".join(
        child if isinstance(child, str) else child.text
        for child in label._children
        if isinstance(child, str) or (isinstance(child, Element) and "required" not in child.classes)
    ).strip()


def _required() -> Element:
    return Element("span", "required", class_="required")


def groups(options: Any) -> list[tuple[Any, Any]]:
    """Options as pairs (label of a group, or None; its options)."""
    if not isinstance(options, Mapping):
        return [(None, options)]
    return [
        (None, [(key, entries)]) if isinstance(entries, str) else (key, entries) for key, entries in options.items()
    ]


def pairs(options: Any) -> list[tuple[Any, Any]]:
    """Options as pairs (value, label): from an Enum class, pairs, a mapping, or texts."""
    if isinstance(options, type) and issubclass(options, Enum):
        return [(member, label_of(member)) for member in options]
    entries = options.items() if isinstance(options, Mapping) else options
    return [tuple(entry) if isinstance(entry, (list, tuple)) else (entry, label_of(entry)) for entry in entries]
