"""Handlers: what the URL table leads to, and the plan of each for its parameters and methods, made at registration.

A handler is any callable ``handler(request, **params)`` or a `RequestHandler` subclass. No paths and no regexes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from framework.conversion import ConversionError, converter_for
from framework.errors import HTTPError
from framework.middleware import compose, middleware_of
from framework.pending import Pending, with_errors
from framework.response import Response, to_response
from framework.signatures import EMPTY, Signature, name_of, read_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeVar

    from framework.conversion import Converter
    from framework.request import Request

    F = TypeVar("F", bound=Callable[..., Any])
    Call = Callable[[Request, Mapping[str, Any]], Any]
    Groups = Mapping[str, Converter | None]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_METHODS_ATTRIBUTE = "__framework_methods__"


class HandlerError(TypeError):
    """A handler that does not fit its pattern or is none at all; the URL table adds where it stands.

    `parameter` is the name at fault, where there is one: the pattern's, or one that the pattern lacks.
    """

    def __init__(self, reason: str, parameter: str | None = None) -> None:
        super().__init__(reason)
        self.parameter = parameter


class RequestHandler:
    """A handler as a class: a new instance for each request, one method for each HTTP method.

    ``get``, ``post``, ``put``, ``patch``, ``delete``, ``head``, ``options`` take the pattern's parameters. HEAD is
    answered by ``get`` without its body, OPTIONS with the methods there are, any other method with 405.

    Example::

        class Note(RequestHandler):
            def get(self, id: int): return show(id)
            def delete(self, id: int): remove(id)
    """

    def __init__(self, request: Request) -> None:
        self.request = request

    def get_url(self, handler: Any, /, **params: Any) -> str:
        """As `Request.get_url`."""
        return self.request.get_url(handler, **params)


def methods(*names: str) -> Callable[[F], F]:
    """Decorate a function that takes only these HTTP methods; others are answered with 405. HEAD comes with GET.

    Example: ``@methods("GET", "POST")``. A function without this is called for every method but OPTIONS.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise ValueError(f"methods are some of {', '.join(METHODS)}, not {', '.join(map(repr, unknown)) or 'none'}")

    def decorate(function: F) -> F:
        setattr(function, _METHODS_ATTRIBUTE, names)
        return function

    return decorate


class Endpoint:
    """One handler with its plans: call it with the request and the pattern's parameters to get a Response.

    `handler` is the object of the URL table, `allow` the methods that it answers, in the order of `METHODS`.
    """

    __slots__ = ("_calls", "_groups", "_middleware", "allow", "handler", "name", "respond")

    def __init__(self, handler: Any) -> None:
        self.handler = handler
        self.name = name_of(handler)
        self.allow: tuple[str, ...] = ()
        self._calls: dict[str, Call] = {}
        self._groups: list[Groups] = []
        self._middleware = middleware_of(handler)
        self.respond: Callable[[Request, Mapping[str, Any]], Response | Pending] = (
            self._respond_within if self._middleware else self._respond
        )

    def plan(self, groups: Iterable[Groups]) -> None:
        """Fit the handler to further patterns: for each its parameters' names, each with the pattern's own converter.

        Raises HandlerError, with the reason, for a handler that cannot be called with these.
        """
        self._groups += groups
        handler = self.handler
        make = _plan_class if _is_handler_class(handler) else _plan_callable
        calls = make(handler, self._groups)
        if "GET" in calls:
            calls.setdefault("HEAD", calls["GET"])
        self._calls = calls
        self.allow = tuple(name for name in METHODS if name in calls or name == "OPTIONS")

    def _respond(self, request: Request, params: Mapping[str, Any]) -> Response | Pending:
        """The answer for a request whose path led here with these parameters, as text."""
        call = self._calls.get(request.method)
        if call is None:
            return self._refuse(request)
        result = call(request, params)
        return result if type(result) is Response else to_response(result)

    def _respond_within(self, request: Request, params: Mapping[str, Any]) -> Response | Pending:
        """As `_respond`, inside the handler's own middleware."""

        def inner(request: Request) -> Response | Pending:
            from framework.errors import error_response

            try:
                response = self._respond(request, params)
            except HTTPError as error:
                return error_response(request, error)
            return with_errors(request, response) if isinstance(response, Pending) else response

        answer: Response | Pending = compose(self._middleware, inner)(request)
        return answer

    def _refuse(self, request: Request) -> Response:
        """OPTIONS is answered with the methods there are, anything else with 405."""
        allow = ("Allow", ", ".join(self.allow))
        if request.method == "OPTIONS":
            return Response(status=204, headers=[allow])
        raise HTTPError(405, headers=[allow])

    def __repr__(self) -> str:
        return f"<Endpoint {self.name}>"


def _is_handler_class(handler: Any) -> bool:
    return isinstance(handler, type) and issubclass(handler, RequestHandler)


def _signature_of(function: Callable[..., Any], first: str, groups: Iterable[Groups]) -> Signature:
    """The signature without its first parameter, which stands for `first` and can be no parameter of a pattern."""
    try:
        signature = read_signature(function)
        own = signature.parameters[0] if signature.parameters else None
        if own is not None and own.keyword and any(own.name in names for names in groups):
            raise HandlerError(f"the pattern gives {own.name!r}, but that is its parameter for {first}", own.name)
        return signature.without_first()
    except ValueError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise HandlerError(f"{name} is called with {first} first, but {error}") from None


def _plan_callable(handler: Callable[..., Any], groups: Iterable[Groups]) -> dict[str, Call]:
    signature = _signature_of(handler, "the request", groups)
    call = _make_call(handler, *_plan_parameters(signature, groups, ""))
    names: Iterable[str] | None = getattr(handler, _METHODS_ATTRIBUTE, None)
    return dict.fromkeys(names if names is not None else [name for name in METHODS if name != "OPTIONS"], call)


def _plan_class(handler: type, groups: Iterable[Groups]) -> dict[str, Call]:
    groups = list(groups)
    calls = {}
    for method in METHODS:
        function = getattr(handler, method.lower(), None)
        if function is None:
            continue
        signature = _signature_of(function, "self", groups)
        calls[method] = _make_method_call(handler, method.lower(), *_plan_parameters(signature, groups, method.lower()))
    if not calls:
        raise HandlerError("it has none of the methods get, post, put, patch, delete, head, options")
    return calls


def _plan_parameters(
    signature: Signature, groups: Iterable[Groups], method: str
) -> tuple[dict[str, Converter], frozenset[str]]:
    """The converters by parameter name, and the names that must be there. Raises HandlerError."""
    taken = {parameter.name: parameter for parameter in signature.parameters if parameter.keyword}
    called = f"{method}{signature}" if method else f"it takes {signature}"
    required = frozenset(parameter.name for parameter in signature.parameters if parameter.default is EMPTY)
    converters: dict[str, Converter] = {}
    for pattern_groups in groups:
        surplus = [name for name in pattern_groups if name not in taken]
        if surplus and not signature.extra_keyword:
            raise HandlerError(f"the pattern gives {_quoted(surplus)}, but {called}", surplus[0])
        missing = sorted(name for name in required if name not in pattern_groups)
        if missing:
            raise HandlerError(f"it needs {_quoted(missing)}, which the pattern does not give ({called})", missing[0])
        for name, own in pattern_groups.items():
            converter = _converter_of(signature, name, own)
            if converter is None:
                continue
            if converters.setdefault(name, converter) is not converter and own is converter:
                reason = f"two of its patterns give different kinds of {name!r}; annotate the parameter"
                raise HandlerError(reason, name)
    return converters, required


def _converter_of(signature: Signature, name: str, own: Converter | None) -> Converter | None:
    """The annotation's converter, else the pattern's own."""
    for parameter in signature.parameters:
        if parameter.name == name and parameter.annotation is not EMPTY:
            try:
                return converter_for(signature.resolve(parameter))
            except ConversionError as error:
                raise HandlerError(f"the parameter {name!r}: {error}", name) from None
            except Exception as error:
                raise HandlerError(
                    f"the annotation {parameter.annotation!r} of {name!r} cannot be read:"
                    f" {type(error).__name__}: {error}",
                    name,
                ) from None
    return own


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _make_call(function: Callable[..., Any], converters: dict[str, Converter], required: frozenset[str]) -> Call:
    if not converters and not required:

        def call_plain(request: Request, params: Mapping[str, Any]) -> Any:
            return function(request, **params) if params else function(request)

        return call_plain

    def call(request: Request, params: Mapping[str, Any]) -> Any:
        return function(request, **convert(params, converters, required))

    return call


def _make_method_call(handler: type, method: str, converters: dict[str, Converter], required: frozenset[str]) -> Call:
    def call(request: Request, params: Mapping[str, Any]) -> Any:
        values = convert(params, converters, required) if params or required else {}
        return getattr(handler(request), method)(**values)

    return call


def convert(params: Mapping[str, Any], converters: Mapping[str, Converter], required: frozenset[str]) -> dict[str, Any]:
    """The parameters' values; HTTPError 404 where a text does not convert or an optional group has left one out."""
    if len(params) < len(required) and not required <= params.keys():
        raise HTTPError(404)
    values = dict(params)
    for name, converter in converters.items():
        if name in values:
            try:
                values[name] = converter(values[name])
            except (ValueError, ArithmeticError):
                raise HTTPError(404) from None
    return values
