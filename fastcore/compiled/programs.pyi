from collections.abc import Sequence
from typing import final

from fastcore.routing.patterns import Route

@final
class Programs:
    def __init__(self, routes: Sequence[Route]) -> None: ...
