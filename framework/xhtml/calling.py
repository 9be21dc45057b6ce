"""Buttons and forms that call a remote function: what they call is said by `data-` attributes, no script is written.

The module that reads them (framework/rpc/calls.js) is served where the function is. What is called is known here by one
method alone, `__remote__()`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framework.xhtml.nodes import Element

MAX_EXACT_INT = 2**53
"""Above it a number changes on its way through JavaScript."""


def bind_call(
    element: Element,
    function: Any,
    arguments: tuple[Any, ...],
    *,
    named: Mapping[str, Any] | None = None,
    fields: bool | None = None,
    confirm: str | None = None,
    done: str | None = None,
    output: Element | str | None = None,
    progress: Element | str | None = None,
    reload: bool = False,
) -> None:
    """Let a button or a form call a function; see `Element.calls`."""
    if element.tag not in ("button", "form"):
        raise ValueError(f"<{element.tag}> calls nothing; a button or a form does")
    remote = getattr(function, "__remote__", None)
    if remote is None:
        raise TypeError(f"{function!r} is no remote function; give one of a Proxy: calls(proxy.restart)")
    handler, name, query = remote()
    fields = element.tag == "form" if fields is None else fields
    if arguments and (named or fields):
        raise ValueError("arguments are given by position or by name (named=…, a form's fields), not both")
    url = element._resolve(handler, {})
    if element.tag == "button" and element.get("type") is None:
        element.set(type="button")
    element.set(
        data_call=name,
        data_call_at=url,
        data_arguments=_json(list(arguments)) if arguments else None,
        data_named=_json(dict(named)) if named else None,
        data_fields=fields,
        data_confirm=confirm,
        data_done=done,
        data_output=None if output is None else _id_of(output, element),
        data_progress=None if progress is None else _id_of(progress, element),
        data_reload=reload,
    )
    if output is None:
        from framework.xhtml.nodes import Element as AnyElement

        shown = AnyElement("output", class_="result")
        if element.tag == "form":
            element.append(shown)
        else:
            element.insert_after(" ", shown)
    _load(element, f"{url}?{query}")


def _json(value: Any) -> str:
    """Fixed arguments as JSON; TypeError for what has no kind in it."""
    try:
        return json.dumps(_checked(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"a button's arguments are what JSON can say: {error}") from None


def _checked(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_EXACT_INT:
        raise TypeError(f"{value} is too large for a number in JavaScript")
    if isinstance(value, (list, tuple)):
        return [_checked(each) for each in value]
    if isinstance(value, dict):
        return {key: _checked(each) for key, each in value.items()}
    return value


def _id_of(target: Element | str, element: Element) -> str:
    """The id of the element that shows something; made where it has none."""
    if isinstance(target, str):
        return target
    if target.id is None:
        root: Any = element.root
        used = {each.id for each in root.walk()}
        target.id = next(id for number in range(1, len(used) + 2) if (id := f"result{number}") not in used)
    return str(target.id)


def _load(element: Element, src: str) -> None:
    """The module that reads the attributes, once in the page."""
    root: Any = element.root
    head = root.find("head")
    if head is not None and not any(script.get("src") == src for script in head.find_all("script")):
        head.add_script_module(src)
