"""What a callable takes: names, annotations, defaults; read from its code object, without importing `inspect`.

Shared by URL parameters and remote calls. No conversion here (see `framework.conversion`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

EMPTY: Any = type("EMPTY", (), {"__repr__": lambda self: "EMPTY"})()
"""No default; no annotation."""

_VARARGS = 0x04
_VARKEYWORDS = 0x08


class Parameter:
    """One named parameter; `positional` and `keyword` say how it may be given, `annotation` may be text (`resolve`)."""

    __slots__ = ("annotation", "default", "keyword", "name", "positional")

    def __init__(self, name: str, annotation: Any, default: Any, positional: bool, keyword: bool) -> None:
        self.name = name
        self.annotation = annotation
        self.default = default
        self.positional = positional
        self.keyword = keyword

    def __repr__(self) -> str:
        return f"<Parameter {self.name}>"


class Signature:
    """The parameters of a callable in their order, without `self`.

    `extra_positional` says that it has ``*args``, `extra_keyword` ``**kwargs``; `namespace` is where annotations
    written as text are looked up.
    """

    __slots__ = ("extra_keyword", "extra_positional", "namespace", "parameters")

    def __init__(
        self, parameters: tuple[Parameter, ...], extra_positional: bool, extra_keyword: bool, namespace: dict[str, Any]
    ) -> None:
        self.parameters = parameters
        self.extra_positional = extra_positional
        self.extra_keyword = extra_keyword
        self.namespace = namespace

    def without_first(self) -> Signature:
        """The same without the first positional parameter (`self`, or the request); ``*args`` may stand for it.

        Raises ValueError where nothing could take it.
        """
        if self.parameters and self.parameters[0].positional:
            return Signature(self.parameters[1:], self.extra_positional, self.extra_keyword, self.namespace)
        if self.extra_positional:
            return self
        raise ValueError("it takes no positional argument")

    def resolve(self, parameter: Parameter) -> Any:
        """The parameter's annotation as an object; NameError and the like where a text names nothing."""
        annotation = parameter.annotation
        if isinstance(annotation, str):
            return eval(annotation, self.namespace)  # noqa: S307 (the programmer's own annotation)
        return annotation

    def __str__(self) -> str:
        names = [parameter.name for parameter in self.parameters]
        if self.extra_positional:
            names.append("*args")
        if self.extra_keyword:
            names.append("**kwargs")
        return f"({', '.join(names)})"


def read_signature(function: Callable[..., Any]) -> Signature:
    """The signature of any callable; decorators that keep ``__wrapped__`` are seen through.

    Raises ValueError where it has none (some built-in functions).
    Example: ``str(read_signature(f)) == "(request, id)"``.
    """
    target: Any = function
    skip = 0
    for _ in range(100):
        if isinstance(target, MethodType):
            skip += 1
            target = target.__func__
        elif hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        elif type(type(target).__dict__.get("__call__")) is FunctionType:
            target = MethodType(type(target).__call__, target)
        else:
            break
    if type(target) is not FunctionType or "__signature__" in target.__dict__:
        return _inspected(target, skip)
    signature = _of_function(target)
    return signature.without_first() if skip else signature


def _of_function(function: FunctionType) -> Signature:
    code = function.__code__
    count = code.co_argcount
    names = code.co_varnames
    annotations = function.__annotations__
    defaults = function.__defaults__ or ()
    first_default = count - len(defaults)
    parameters = [
        Parameter(
            name,
            annotations.get(name, EMPTY),
            defaults[index - first_default] if index >= first_default else EMPTY,
            positional=True,
            keyword=index >= code.co_posonlyargcount,
        )
        for index, name in enumerate(names[:count])
    ]
    keyword_defaults = function.__kwdefaults__ or {}
    parameters += [
        Parameter(name, annotations.get(name, EMPTY), keyword_defaults.get(name, EMPTY), positional=False, keyword=True)
        for name in names[count : count + code.co_kwonlyargcount]
    ]
    flags = code.co_flags
    return Signature(tuple(parameters), bool(flags & _VARARGS), bool(flags & _VARKEYWORDS), function.__globals__)


def _inspected(function: Any, skip: int) -> Signature:
    """As `_of_function`, for classes, partial objects, built-in functions and objects with ``__call__``."""
    import inspect

    parameters = []
    extra_positional = extra_keyword = False
    try:
        found = list(inspect.signature(function).parameters.values())[skip:]
    except TypeError as error:
        raise ValueError(str(error)) from None
    for item in found:
        if item.kind is item.VAR_POSITIONAL:
            extra_positional = True
        elif item.kind is item.VAR_KEYWORD:
            extra_keyword = True
        else:
            parameters.append(
                Parameter(
                    item.name,
                    EMPTY if item.annotation is item.empty else item.annotation,
                    EMPTY if item.default is item.empty else item.default,
                    positional=item.kind is not item.KEYWORD_ONLY,
                    keyword=item.kind is not item.POSITIONAL_ONLY,
                )
            )
    origin = getattr(function, "func", function)
    if not isinstance(origin, FunctionType | type):
        origin = getattr(type(origin).__call__, "__func__", type(origin).__call__)
    namespace = getattr(origin, "__globals__", {})
    return Signature(tuple(parameters), extra_positional, extra_keyword, namespace)


def name_of(function: Any) -> str:
    """``"module.qualified.name"`` of a callable, as the URL tables have it."""
    module = getattr(function, "__module__", None) or type(function).__module__
    name = getattr(function, "__qualname__", None) or f"{type(function).__qualname__}(...)"
    return f"{module}.{name}"
