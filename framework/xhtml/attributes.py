"""Attributes as text: the value of each escaped for what its name means.

What is ordinary is written by `attribute_text` of `framework.xhtml.implementation.tree`; here is what needs a closer
look: URLs, code, style, true and false. No tree is changed here.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any

from framework.xhtml import escape
from framework.xhtml.escape import REFUSED_URL, Trusted
from framework.xhtml.names import ANIMATED_ATTRIBUTES, TRUE_FALSE_ATTRIBUTES, URL_ATTRIBUTES, attribute_name

if TYPE_CHECKING:
    from framework.xhtml.nodes import Element

_KEPT_PREFIXES = 1024
_IMAGES = frozenset(["img", "image", "input", "source", "feImage", "video"])
_REFRESH = re.compile(r"([\s\d.]*[;,\s]*(?:url\s*=\s*)?['\"]?)(.*)", re.IGNORECASE | re.DOTALL)

prefixes: dict[str, str] = {}
"""` name="` of ordinary attributes, by their names."""


def _is_special(name: str) -> bool:
    return (
        name in URL_ATTRIBUTES
        or name in ANIMATED_ATTRIBUTES
        or name in TRUE_FALSE_ATTRIBUTES
        or name.startswith(("on", "aria-"))
        or name in ("style", "srcdoc", "content")
    )


def prefix_of(name: str) -> str | None:
    """` name="` for an ordinary attribute, remembered; None where its value needs a closer look. ValueError for no
    name.
    """
    if attribute_name(name) != name:
        raise ValueError(f"{name!r} is not how an attribute is written; write {attribute_name(name)!r}")
    if _is_special(name):
        return None
    prefix = f' {name}="'
    if len(prefixes) < _KEPT_PREFIXES:
        prefixes[name] = prefix
    return prefix


def value_text(value: Any) -> str:
    """A value that is not a plain text, as the text of an attribute."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Enum):
        return value_text(value.value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return " ".join(value_text(item) for item in value if item is not None and item is not False)
    if isinstance(value, (bytes, bytearray, dict)):
        raise TypeError(f"{type(value).__name__} cannot be the value of an attribute: {value!r:.60}")
    if hasattr(value, "isoformat"):
        # HTML §2.3.5 knows no more than milliseconds.
        return str(value.isoformat(timespec="milliseconds") if getattr(value, "microsecond", 0) else value.isoformat())
    return str(value)


def label_of(value: Any) -> str:
    """What stands for a value where people read it: an Enum's `label`, else its name, else the text."""
    if isinstance(value, Enum):
        label = getattr(value, "label", None)
        return str(label) if label is not None else value.name.replace("_", " ").capitalize()
    return str(value)


def special_attribute(element: Element, name: str, value: Any) -> str:
    """An attribute whose value needs a closer look, as it stands in the start tag; "" where it is left out."""
    tag = element.tag
    if name in TRUE_FALSE_ATTRIBUTES or name.startswith("aria-"):
        text = str(value).lower() if isinstance(value, bool) else value_text(value)
    elif value is False:
        return ""
    elif name.startswith("on") or name == "srcdoc":
        text = _code(tag, name, value)
    elif value is True:
        text = ""
    elif name == "style" and isinstance(value, dict):
        text = "; ".join(
            f"{key.replace('_', '-')}: {value_text(item)}" for key, item in value.items() if item is not None
        )
    elif name in URL_ATTRIBUTES:
        text = _url(tag, name, value)
    elif name in ANIMATED_ATTRIBUTES and tag in ("animate", "set"):
        text = ";".join(escape.url(part) for part in value_text(value).split(";"))
    elif name == "content" and tag == "meta" and str(element.get("http-equiv", "")).strip().lower() == "refresh":
        text = _refresh(value_text(value))
    else:
        text = value_text(value)
    return f' {name}="{escape.attribute(text)}"'


def _url(tag: str, name: str, value: Any) -> str:
    text = value if isinstance(value, str) else value_text(value)
    checked = escape.url(text, image=tag in _IMAGES and name in ("src", "href", "poster"))
    return value_text(checked)


def _refresh(text: str) -> str:
    """The content of a refresh: seconds, and maybe a URL (HTML §4.2.5.3); a script there is refused."""
    found = _REFRESH.match(text)
    if found is not None and escape.url(found[2]) is REFUSED_URL:
        return f"{found[1]}{REFUSED_URL}"
    return text


def _code(tag: str, name: str, value: Any) -> str:
    from framework.xhtml.nodes import Node

    if isinstance(value, (Trusted, Node)):
        return str(value)
    raise ValueError(
        f'<{tag} {name}="…"> runs what it holds as code: add the listener in a script module, '
        "or wrap code that you wrote in framework.xhtml.Trusted"
    )
