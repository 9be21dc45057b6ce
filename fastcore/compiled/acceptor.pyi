import socket
from collections.abc import Callable

from fastcore.compiled.peers import Peers

ACCEPT_PAUSE: float

class Acceptor:
    def __init__(self, listener: socket.socket, peers: Peers, complain: Callable[[str], None]) -> None: ...
