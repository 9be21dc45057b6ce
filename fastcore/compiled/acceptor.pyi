import socket
from collections.abc import Callable

from fastcore.compiled.peers import Peers

ACCEPT_PAUSE: float
ACCEPT_BATCH: int
FULL_TURNS: int

class Acceptor:
    def __init__(self, listener: socket.socket, peers: Peers, complain: Callable[[str], None]) -> None: ...
