from collections.abc import Callable
from typing import Any

from fastcore.compiled.request import Request

CHUNK: int

def error_page(status: int) -> tuple[bytes, bytes]: ...

class Exchange:
    request: Request
    app_status: int
    finished: bool
    def __init__(self, request: Request, application: Callable[[Any], Any], log: Callable[[str], None]) -> None: ...
    def start(self) -> None: ...
    def next_chunk(self) -> bytes | None: ...
    def close(self) -> None: ...
