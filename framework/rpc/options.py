"""What is said of a remote function where it is defined: `remote`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from framework.request import Request

    Allow = Callable[[Request, dict[str, Any]], bool]

F = TypeVar("F", bound=Callable[..., Any])


class RemoteOptions:
    """What `remote` was given."""

    __slots__ = ("allow", "safe")

    def __init__(self, safe: bool = False, allow: Allow | None = None) -> None:
        self.safe = safe
        self.allow = allow


_DEFAULT = RemoteOptions()


def remote(*, safe: bool = False, allow: Allow | None = None) -> Callable[[F], F]:
    """Options of a function that a `Proxy` exports; without it a function has the defaults.

    Args:
        safe: calling it twice does no more than calling it once, so clients try again by themselves where no answer
            came (a lost connection; 502, 503 and 504 of a front end).
        allow: called with the request and the arguments by name before the function runs; what is false refuses the
            call with 403, and an exception that it raises is the answer.

    Example::

        @remote(safe=True, allow=lambda request, arguments: request.remote_user == "root")
        def disks() -> list[str]: ...
    """

    def mark(function: F) -> F:
        function.__remote__ = RemoteOptions(safe, allow)  # type: ignore[attr-defined]
        return function

    return mark


def options_of(function: Any) -> RemoteOptions:
    """The options of a function, or the defaults."""
    options = getattr(function, "__remote__", _DEFAULT)
    return options if isinstance(options, RemoteOptions) else _DEFAULT
