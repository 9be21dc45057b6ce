from fastcore.compiled.connection import Connection
from fastcore.limits import Limits

class Channel(Connection):
    def __init__(self, fd: int, limits: Limits, workers: int) -> None: ...
