from collections.abc import Callable
from typing import Any

PAGE: int
FILE_CONTENT: int

class FileRecord:
    left: int
    failed: bool
    refused: bool
    def __init__(self, file: Any, fd: int, complain: Callable[[str], None]) -> None: ...
