"""TypeScript declarations of a Proxy's module: ``proxy.d.ts``. Made from annotations and docstrings, when asked for.

Always holds: a name that a declaration uses is declared, once, and a function's text stays inside its comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

from framework.rpc.wire import registered
from framework.signatures import EMPTY

if TYPE_CHECKING:
    from framework.rpc.binding import RemoteFunction

# ECMA-262 section 12.7.2, and what strict mode and modules reserve
_WORDS = frozenset(
    re.findall(
        r"\w+",
        "arguments await break case catch class const continue debugger default delete do else enum eval export extends"
        " false finally for function if implements import in instanceof interface let new null package private"
        " protected public return static super switch this throw true try typeof var void while with yield",
    )
)
_TAKEN = frozenset(
    re.findall(
        r"\w+",
        "Array ArrayBuffer AsyncGenerator AsyncIterable BigInt Boolean Call Date Error Functions Kind Map Number Object"
        " Options Partial Progress Promise Record RemoteError Set Stream String Symbol Tuple Uint8Array",
    )
)
"""Names that declarations use; no interface takes one of them."""

_PLAIN: dict[Any, str] = {
    Any: "any",
    object: "any",
    EMPTY: "any",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    bytes: "Uint8Array",
    bytearray: "Uint8Array",
    memoryview: "Uint8Array",
    None: "null",
    NoneType: "null",
    list: "any[]",
    tuple: "any[]",
    dict: "Record<string, any>",
    set: "Set<any>",
    frozenset: "Set<any>",
}
_BY_NAME = {
    ("datetime", "datetime"): "Date",
    ("datetime", "date"): 'Kind<"date">',
    ("datetime", "time"): 'Kind<"time">',
    ("datetime", "timedelta"): 'Kind<"timedelta">',
    ("decimal", "Decimal"): 'Kind<"decimal">',
    ("uuid", "UUID"): 'Kind<"uuid">',
    ("framework.rpc.progress", "Progress"): "Progress",
}
_FROM_TEXT = ('Kind<"date">', 'Kind<"time">', 'Kind<"decimal">', 'Kind<"uuid">')
"""Kinds that a parameter takes as text, too."""

_STREAMS = frozenset({"Generator", "Iterator", "Iterable", "AsyncGenerator", "AsyncIterator", "AsyncIterable"})


def make_declarations(functions: Mapping[str, RemoteFunction]) -> str:
    """The text of ``proxy.d.ts`` for these functions.

    Example: ``make_declarations(proxy.functions).count("interface Functions") == 1``.
    """
    from importlib.resources import files

    types = _Types()
    tree: dict[str, Any] = {}
    for name, function in functions.items():
        *path, last = name.split(".")
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        at[last] = function
    body = _block(types, tree, "  ")
    head = (files("framework.rpc") / "client.d.ts").read_text(encoding="utf-8")
    interfaces = "".join(f"\n{text}" for text in types.declared.values())
    return (
        f"// Made from Python's signatures; do not edit.\n\n{head}{interfaces}\n"
        f"export interface Functions {{\n{body}}}\n"
        "\ndeclare const functions: Functions;\nexport default functions;\n"
    )


def _block(types: _Types, tree: Mapping[str, Any], indent: str) -> str:
    lines = []
    for name, entry in tree.items():
        if isinstance(entry, dict):
            lines.append(f"{indent}readonly {name}: {{\n{_block(types, entry, indent + '  ')}{indent}}};\n")
        else:
            lines.append(_comment(entry.function.__doc__, indent) + f"{indent}{_method(types, name, entry)};\n")
    return "".join(lines)


def _method(types: _Types, name: str, function: RemoteFunction) -> str:
    parameters = []
    for parameter, annotation in function.parameters():
        if parameter.positional:
            shown = parameter.name + ("_" if parameter.name in _WORDS else "")
            optional = "?" if parameter.default is not EMPTY else ""
            parameters.append(f"{shown}{optional}: {types.of(annotation, sent=True)}")
    if function.takes_more:
        parameters.append("...rest: any[]")
    return f"{name}({', '.join(parameters)}): Call<{types.of(function.returns())}>"


def _comment(text: str | None, indent: str) -> str:
    if not text or not text.strip():
        return ""
    from inspect import cleandoc

    lines = cleandoc(text).replace("*/", "*\\/").splitlines()
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    return f"{indent}/**\n" + "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines) + f"{indent} */\n"


class _Types:
    """Annotations as TypeScript; `declared` collects the interfaces that they need."""

    def __init__(self) -> None:
        self.declared: dict[str, str] = {}
        self._names: dict[Any, str] = {}

    def of(self, annotation: Any, sent: bool = False) -> str:
        """One type; `sent` says that it is a parameter's, which takes more than a result has."""
        return self._of(annotation, sent)

    def _of(self, annotation: Any, sent: bool) -> str:
        if annotation is int:
            return "number | bigint" if sent else "number"
        if isinstance(annotation, NewType):
            return self._of(annotation.__supertype__, sent)
        if isinstance(annotation, TypeVar | str):
            return "any"
        if getattr(annotation, "__hash__", None) is not None and annotation in _PLAIN:
            return _PLAIN[annotation]
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is None:
            return self._class(annotation, sent)
        if origin is Literal:
            return " | ".join(_literal(value) for value in arguments)
        if origin is Union or origin is UnionType:
            return " | ".join(dict.fromkeys(self._of(argument, sent) for argument in arguments))
        if hasattr(annotation, "__metadata__"):
            return self._of(arguments[0], sent)
        return self._generic(origin, arguments, sent)

    def _generic(self, origin: Any, arguments: tuple[Any, ...], sent: bool) -> str:
        name = getattr(origin, "__name__", "")
        inner = [self._of(argument, sent) for argument in arguments if argument is not Ellipsis]
        if origin is tuple:
            if arguments and arguments[-1] is Ellipsis:
                return _array(inner[0])
            return f"[{', '.join(inner)}]"
        if name in _STREAMS and not sent:
            return f"Stream<{inner[0]}>"
        if name in ("Awaitable", "Coroutine"):
            return inner[-1]
        if isinstance(origin, type):
            if issubclass(origin, Mapping):
                if re.fullmatch(r'"[^"]*"(?: \| "[^"]*")*', inner[0]):
                    return f"Partial<Record<{inner[0]}, {inner[1]}>>"
                return f"Record<string, {inner[1]}>" if inner[0] == "string" else f"Map<{inner[0]}, {inner[1]}>"
            if name in ("set", "frozenset", "Set", "MutableSet", "AbstractSet"):
                return f"Set<{inner[0]}>"
            if len(inner) == 1:
                return _array(inner[0])
        return "any"

    def _class(self, kind: Any, sent: bool) -> str:
        named = _BY_NAME.get((getattr(kind, "__module__", ""), getattr(kind, "__qualname__", "")))
        if named is not None:
            return f"{named} | string" if sent and named in _FROM_TEXT else named
        if not isinstance(kind, type):
            return "any"
        for name, own in registered().items():
            if own is kind:
                return f'Kind<"{name}">' if hasattr(kind, "__members__") else "any"
        if hasattr(kind, "__members__"):
            return " | ".join(dict.fromkeys(_literal(member.value) for member in kind)) or "never"  # type: ignore[attr-defined]
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            hints = get_type_hints(kind)
            items = [f"{_property(field)}: {self._of(hints.get(field, Any), sent)}" for field in kind._fields]
            return f"[{', '.join(items)}]"
        if issubclass(kind, str) or hasattr(kind, "__fspath__"):
            return "string"
        if kind.__module__ in ("ipaddress", "zoneinfo"):
            return "string"
        if any(hasattr(kind, mark) for mark in ("__dataclass_fields__", "__struct_fields__", "__total__")):
            return self._interface(kind, sent)
        if kind.__name__ in _STREAMS and not sent:
            return "Stream<any>"
        return "any"

    def _interface(self, kind: Any, sent: bool) -> str:
        """The name of the interface for a dataclass, Struct or TypedDict; results and arguments have one each."""
        key = (kind, sent)
        if key in self._names:
            return self._names[key]
        name = re.sub(r"\W", "", kind.__name__) or "Type"
        if sent:
            name += "Argument"
        while name in self.declared or name in _TAKEN:
            name += "_"
        self._names[key] = name
        self.declared[name] = ""
        optional = _optional_fields(kind) if sent or hasattr(kind, "__total__") else frozenset()
        lines = "".join(
            f"  {_property(field)}{'?' if field in optional else ''}: {self._of(annotation, sent)};\n"
            for field, annotation in get_type_hints(kind).items()
            if not field.startswith("_")
        )
        doc = kind.__doc__
        if doc and doc.startswith(kind.__name__ + "("):  # what @dataclass writes
            doc = None
        self.declared[name] = f"{_comment(doc, '')}export interface {name} {{\n{lines}}}\n"
        return name


def _optional_fields(kind: Any) -> frozenset[str]:
    if hasattr(kind, "__optional_keys__"):
        return frozenset(kind.__optional_keys__)
    if hasattr(kind, "__struct_fields__"):
        count = len(kind.__struct_defaults__)
        return frozenset(kind.__struct_fields__[len(kind.__struct_fields__) - count :])
    from dataclasses import MISSING, fields

    return frozenset(f.name for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING)


def _array(item: str) -> str:
    return f"{item}[]" if re.fullmatch(r"\w+", item) else f"({item})[]"


def _property(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_$][\w$]*", name, re.ASCII) else _literal(name)


def _literal(value: Any) -> str:
    if hasattr(value, "_value_"):
        return _literal(value.value)
    if value is None or isinstance(value, bool | str) or (type(value) is int and abs(value) < 2**53):
        from json import dumps

        return dumps(value)
    if type(value) is float and value == value and abs(value) < 1e21:
        return repr(value)
    return "any"
