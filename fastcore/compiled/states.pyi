from typing import final

from fastcore.compiled.steps import Steps
from fastcore.routing.automaton import Automaton

@final
class States(Steps):
    max_states: int

    def __init__(self, automaton: Automaton, max_states: int = 0) -> None: ...
    def statistics(self) -> dict[str, int]: ...
