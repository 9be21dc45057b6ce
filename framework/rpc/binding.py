"""One exported function: its name, what its callers may pass, and how that becomes Python arguments.

Always holds: what does not fit is a ProtocolError "Invalid params" that names the argument, before the function runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from framework.rpc.errors import INVALID_PARAMS, Mismatch, ProtocolError
from framework.rpc.options import options_of
from framework.rpc.values import Plan, exact_kind, plan_for
from framework.rpc.wire import unpack
from framework.signatures import EMPTY, Parameter, Signature, read_signature

if TYPE_CHECKING:
    from framework.request import Request
    from framework.rpc.options import Allow

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED = frozenset(
    {"constructor", "then", "catch", "finally", "prototype", "toJSON", "toString", "valueOf", "toLocaleString"}
    | {"hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable"}
)


class RemoteFunction:
    """A function as callers see it. `name` is theirs, `function` Python's.

    A parameter named `request` and annotated `framework.Request` is given the request and is no argument for callers.
    """

    __slots__ = (
        "_by_position",
        "_direct",
        "_extra_keyword",
        "_extra_positional",
        "_least",
        "_open",
        "_plans",
        "_request",
        "_signature",
        "allow",
        "function",
        "name",
        "safe",
    )

    def __init__(self, name: str, function: Callable[..., Any], allow: Allow | None = None) -> None:
        """`allow` is asked before the function's own hook. Raises TypeError, ValueError for what cannot be exported."""
        check_name(name)
        if not callable(function):
            raise TypeError(f"only functions can be exported; {name!r} is {function!r}")
        self._read(name, function, allow)

    @classmethod
    def _of_protocol(cls, name: str, function: Callable[..., Any], allow: Allow | None) -> RemoteFunction:
        """A function of our own under a name that is no application's."""
        self = cls.__new__(cls)
        self._read(name, function, allow)
        return self

    def _read(self, name: str, function: Callable[..., Any], allow: Allow | None) -> None:
        self.name = name
        self.function = function
        try:
            signature = read_signature(function)
        except ValueError as error:
            raise TypeError(f"the arguments of {name!r} cannot be read: {error}") from None
        options = options_of(function)
        self.safe = options.safe
        self.allow = [hook for hook in (allow, options.allow) if hook is not None]
        self._signature = signature
        self._request = next((p for p in signature.parameters if _is_request(signature, p)), None)
        self._open = [parameter for parameter in signature.parameters if parameter is not self._request]
        self._plans: dict[str, Plan] = {}
        for parameter in self._open:
            plan = _plan_of(name, signature, parameter)
            if plan is not None:
                self._plans[parameter.name] = plan
        # for each parameter the type whose values pass as they are, and the plan for all others
        plans = [self._plans.get(parameter.name) for parameter in self._open]
        self._direct = [(exact_kind(plan), plan) for plan in plans] if self._is_direct() else None
        self._least = sum(parameter.default is EMPTY for parameter in self._open)
        self._extra_positional = signature.extra_positional
        self._extra_keyword = signature.extra_keyword
        self._by_position = [
            parameter
            for parameter in signature.parameters
            if parameter.positional and (signature.extra_positional or not parameter.keyword)
        ]

    def call(self, params: list[Any] | dict[str, Any], request: Request) -> Any:
        """Call the function with JSON-RPC's params. Raises ProtocolError, and whatever the function raises."""
        # PERF: arguments in their order, for a function that takes them as they are.
        direct = self._direct
        if direct is not None and type(params) is list and self._least <= len(params) <= len(direct):
            try:
                args = [
                    value if kind is type(value) or plan is None else plan(value)
                    for value, (kind, plan) in zip(params, direct, strict=False)
                ]
            except Mismatch:
                pass  # said below, with the argument's name
            else:
                return self.function(*args)
        values, extra = self._bind_list(params) if isinstance(params, list) else (self._bind_object(params), [])
        if self.allow:
            self._check_allowed(request, values, extra)
        if self._request is not None:
            values[self._request.name] = request
        if self._by_position or extra:
            args = [values.pop(p.name) if p.name in values else p.default for p in self._by_position]
            return self.function(*args, *extra, **values)
        return self.function(**values)

    def _is_direct(self) -> bool:
        """Whether a list of params can be passed as it stands: nobody is asked, and no decorator is in between."""
        function = self.function
        return (
            type(function) in (FunctionType, MethodType)
            and not hasattr(function, "__wrapped__")
            and not self.allow
            and self._request is None
            and all(parameter.positional for parameter in self._open)
        )

    def _check_allowed(self, request: Request, values: dict[str, Any], extra: list[Any]) -> None:
        """Ask each hook. Raises HTTPError 403 where one refuses."""
        from framework.errors import HTTPError

        arguments = {**values, **({"*": extra} if extra else {})}
        for allow in self.allow:
            answer = allow(request, arguments)
            if hasattr(answer, "__await__"):
                getattr(answer, "close", bool)()
                raise TypeError(f"the allow= hook of {self.name} is asynchronous; it has to answer at once")
            if not answer:
                raise HTTPError(403, f"You may not call {self.name}.")

    @property
    def takes_more(self) -> bool:
        """Whether it has ``*args``."""
        return self._extra_positional

    def parameters(self) -> list[tuple[Parameter, Any]]:
        """What callers may pass: each parameter with its annotation as an object."""
        return [(parameter, self._signature.resolve(parameter)) for parameter in self._open]

    def returns(self) -> Any:
        """The annotation of the result as an object; Any where there is none or it names what is not there."""
        function: Any = self.function
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if not hasattr(function, "__code__") and not hasattr(function, "__func__"):
            function = type(function).__call__
        annotation = getattr(function, "__annotations__", {}).get("return", Any)
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, self._signature.namespace)  # noqa: S307 (the programmer's own annotation)
            except Exception:
                return Any
        return annotation

    def describe(self) -> str:
        """What its callers could notice a change of, as text."""
        shown = [f"{p.name}: {p.annotation!r} = {p.default!r} {p.positional} {p.keyword}" for p in self._open]
        return f"{self.name}({shown} {self._extra_positional} {self._extra_keyword})"

    def unpack(self, params: list[Any] | dict[str, Any]) -> list[Any] | dict[str, Any]:
        """JSON-RPC's params with the tags of `framework.rpc.wire` become values. Raises ProtocolError."""
        if isinstance(params, dict):
            return {name: self._unpacked(repr(name[:60]), value) for name, value in params.items()}
        names = [repr(parameter.name) for parameter in self._open if parameter.positional]
        names += map(str, range(len(names), len(params)))
        return [self._unpacked(name, value) for name, value in zip(names, params, strict=False)]

    def _unpacked(self, name: str, value: Any) -> Any:
        try:
            return unpack(value)
        except Mismatch as mismatch:
            raise self._invalid(f"the argument {name}: {mismatch}") from None

    def _bind_list(self, params: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        positional = [parameter for parameter in self._open if parameter.positional]
        if len(params) > len(positional) and not self._extra_positional:
            raise self._invalid(f"it takes {len(positional)} arguments, not {len(params)}")
        values = {
            parameter.name: self._convert(parameter.name, value)
            for parameter, value in zip(positional, params, strict=False)
        }
        self._check_missing(values)
        return values, params[len(positional) :]

    def _bind_object(self, params: dict[str, Any]) -> dict[str, Any]:
        names = {parameter.name for parameter in self._open if parameter.keyword}
        own = self._request.name if self._request is not None else None
        for name in params:
            if name not in names and (not self._extra_keyword or name == own or not _NAME.fullmatch(name)):
                raise self._invalid(f"it has no argument {name[:60]!r}")
        values = {name: self._convert(name, value) for name, value in params.items()}
        self._check_missing(values)
        return values

    def _check_missing(self, values: dict[str, Any]) -> None:
        missing = [p.name for p in self._open if p.default is EMPTY and p.name not in values]
        if missing:
            raise self._invalid(f"the argument {missing[0]!r} is missing")

    def _convert(self, name: str, value: Any) -> Any:
        plan = self._plans.get(name)
        if plan is None:
            return value
        try:
            return plan(value)
        except Mismatch as mismatch:
            raise self._invalid(f"the argument {name!r}: {mismatch}") from None

    def _invalid(self, reason: str) -> ProtocolError:
        names = ", ".join(parameter.name for parameter in self._open)
        return ProtocolError(INVALID_PARAMS, f"Invalid params: {self.name}({names}): {reason}")

    def __repr__(self) -> str:
        return f"<RemoteFunction {self.name}>"


def check_name(name: str) -> None:
    """Raise ValueError for a name that JavaScript could not have as a method; dots divide nested ones."""
    for part in name.split("."):
        if not _NAME.fullmatch(part):
            raise ValueError(f"an exported name is letters, digits and '_', beginning with a letter, not {name!r}")
        if part in _RESERVED:
            raise ValueError(f"{name!r} cannot be exported: JavaScript gives {part!r} a meaning of its own")
    if name.startswith("rpc."):
        raise ValueError(f"{name!r} cannot be exported: JSON-RPC keeps names that begin with 'rpc.' for itself")


def _is_request(signature: Signature, parameter: Parameter) -> bool:
    if parameter.name != "request" or parameter.annotation is EMPTY:
        return False
    annotation = parameter.annotation
    if isinstance(annotation, str):
        if annotation.rpartition(".")[2] != "Request":
            return False
        try:
            annotation = signature.resolve(parameter)
        except Exception:
            return True  # imported for type checkers only, which leave nothing to look up
    from framework.request import Request

    return isinstance(annotation, type) and issubclass(annotation, Request)


def _plan_of(name: str, signature: Signature, parameter: Parameter) -> Plan | None:
    if parameter.annotation is EMPTY:
        return None
    try:
        annotation = signature.resolve(parameter)
    except Exception as error:
        raise TypeError(
            f"the annotation {parameter.annotation!r} of {parameter.name!r} of {name!r} cannot be read:"
            f" {type(error).__name__}: {error}"
        ) from None
    try:
        return plan_for(annotation)
    except (TypeError, NameError) as error:
        raise TypeError(f"the annotation {annotation!r} of {parameter.name!r} of {name!r}: {error}") from None
