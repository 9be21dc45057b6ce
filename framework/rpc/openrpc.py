"""What a Proxy exports as an OpenRPC document (open-rpc.org, 1.3.2): the answer of ``rpc.discover``.

JSON Schemas come from annotations and are of plain JSON: a date is a text in them, though a caller whose values are
tagged (docs/rpc.md, "Kinds of values") gets a date. What no schema says is ``{}``, which takes anything.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterator, Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from framework.signatures import EMPTY

if TYPE_CHECKING:
    from framework.rpc.binding import RemoteFunction
    from framework.signatures import Parameter

OPENRPC_VERSION = "1.3.2"

_REFERENCE = "#/components/schemas/{name}"
_STREAMS = (AsyncGenerator, AsyncIterator, AsyncIterable, Generator, Iterator)
_TEXT = ("pathlib", "pathlib._local", "ipaddress", "zoneinfo")


def make_document(functions: Mapping[str, RemoteFunction], version: str) -> dict[str, Any]:
    """The document for these functions, without the address of a server.

    Example: ``make_document(proxy.functions, proxy.version)["methods"][0]["name"] == "disks"``.
    """
    schemas = _Schemas()
    methods = [_method(schemas, function) for function in functions.values()]
    info = {"title": "Remote functions", "version": version}
    components = {"schemas": schemas.fill()}
    return {"openrpc": OPENRPC_VERSION, "info": info, "methods": methods, "components": components}


def _method(schemas: _Schemas, function: RemoteFunction) -> dict[str, Any]:
    """The method object (section "Method Object"): required parameters come first in it."""
    parameters = function.parameters()
    ordered = sorted(parameters, key=lambda pair: pair[0].default is not EMPTY)
    structure = "either"
    if any(not parameter.positional for parameter, _ in parameters) or ordered != parameters:
        structure = "by-name"
    elif any(not parameter.keyword for parameter, _ in parameters):
        structure = "by-position"
    method: dict[str, Any] = {"name": function.name, **_words(function.function.__doc__)}
    method["paramStructure"] = structure
    method["params"] = [_parameter(schemas, parameter, annotation) for parameter, annotation in ordered]
    returns = function.returns()
    item = _item_of(returns)
    method["result"] = {"name": "result", "schema": {} if item is not EMPTY else schemas.of(returns)}
    if item is not EMPTY:
        method["x-stream"] = {"item": schemas.of(item)}
    if function.takes_more:
        method["x-more-params"] = {"schema": {}}
    if function.safe:
        method["x-safe"] = {"retry": True}
    return method


def _words(text: str | None) -> dict[str, str]:
    """A docstring as a summary, its first line, and a description, where there is more."""
    if not text or not text.strip():
        return {}
    from inspect import cleandoc

    words = cleandoc(text)
    first = words.partition("\n")[0]
    return {"summary": first} if first == words else {"summary": first, "description": words}


def _parameter(schemas: _Schemas, parameter: Parameter, annotation: Any) -> dict[str, Any]:
    schema = schemas.of(annotation)
    if parameter.default is not EMPTY:
        schemas.later(schema, parameter.default)
    return {"name": parameter.name, "required": parameter.default is EMPTY, "schema": schema}


def _item_of(annotation: Any) -> Any:
    """What a generator yields, by its annotation; EMPTY where it is no generator's."""
    origin = get_origin(annotation) or annotation
    if origin in _STREAMS:
        return (*get_args(annotation), Any)[0]
    return EMPTY


class _Schemas:
    """Schemas that are filled in at the end, when all types are known: so that types of one name are told apart."""

    def __init__(self) -> None:
        self._wanted: list[tuple[dict[str, Any], Any]] = []
        self._defaults: list[tuple[dict[str, Any], Any]] = []

    def of(self, annotation: Any) -> dict[str, Any]:
        """The schema of an annotation, empty until `fill`."""
        schema: dict[str, Any] = {}
        if annotation is EMPTY or annotation is Any or annotation is object:
            return schema
        if annotation is None or annotation is NoneType:
            schema["type"] = "null"
        elif _has_schema(annotation):
            self._wanted.append((schema, annotation))
        elif get_origin(annotation) in (Union, UnionType):  # of classes that look the same in JSON
            schema["anyOf"] = [self.of(argument) for argument in get_args(annotation)]
        return schema

    def later(self, schema: dict[str, Any], default: Any) -> None:
        """Add a default to a schema, if JSON has it."""
        self._defaults.append((schema, default))

    def fill(self) -> dict[str, Any]:
        """Fill in all schemas; returns the components that they refer to."""
        components: dict[str, Any] = {}
        if self._wanted:
            from msgspec.json import schema_components

            found, components = schema_components(
                [annotation for _, annotation in self._wanted], schema_hook=_of_class, ref_template=_REFERENCE
            )
            for (schema, _), made in zip(self._wanted, found, strict=True):
                schema.update(made)
        for schema, default in self._defaults:
            _add_default(schema, default)
        return components


def _add_default(schema: dict[str, Any], default: Any) -> None:
    from orjson import dumps, loads

    from framework.rpc.values import to_plain

    if "$ref" not in schema:  # nothing beside it counts
        try:
            schema["default"] = loads(dumps(default, to_plain))
        except TypeError:
            return


def _has_schema(annotation: Any) -> bool:
    from msgspec.json import schema_components

    try:
        schema_components([annotation], schema_hook=_of_class, ref_template=_REFERENCE)
    except (TypeError, NameError):
        return False
    return True


def _of_class(kind: Any) -> dict[str, Any]:
    """msgspec's hook for classes that it does not know: a text for some, anything for the rest."""
    module = getattr(get_origin(kind) or kind, "__module__", "")
    return {"type": "string"} if module in _TEXT else {}
