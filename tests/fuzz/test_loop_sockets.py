"""A live server of each twin under random bytes from many sockets: it goes on answering, and keeps nothing of them.

The seed of a run is in its output: FASTCORE_FUZZ_SEED=N repeats the choices, FASTCORE_FUZZ_SECONDS=N lengthens it.
"""

from __future__ import annotations

import os
import random
import socket
import time
from contextlib import suppress

import pytest
import wire
from fcgi_server import Server

SECONDS = float(os.environ.get("FASTCORE_FUZZ_SECONDS", "2"))
SOCKETS = 12  # open at once
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")  # make sanitize: what is freed is held back for a while
LARGEST_GROWTH = 16 << 20  # bytes of resident memory

PATHS = ["/hello", "/echo", "/length", "/boom", "/errors", "/late", "/early", "/short", "/over", "/bad-header", "/x"]
MANY = ["3,10", "20,5000", "100,20000"]


@pytest.fixture
def server(tmp_path, twin_environment):
    limits = ["body_memory=2000", "requests_per_connection=5", "params_bytes=5000", "body=100000"]
    options = [word for limit in limits for word in ("--limit", limit)]
    with Server(tmp_path, twin_environment, "native", *options) as running:
        yield running


def resident(pid):
    """Bytes of memory that a process really has."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def whole_request(rng):
    body = rng.randbytes(rng.choice([0, 0, 1, 500, 3000, 90_000]))
    parameters = {"PATH_INFO": rng.choice(PATHS)}
    if rng.random() < 0.2:
        parameters = {"PATH_INFO": "/many", "QUERY_STRING": rng.choice(MANY)}
    if rng.random() < 0.1:
        parameters["CONTENT_LENGTH"] = rng.choice(["", "-1", "7", "99999999", "1,2"])
    if rng.random() < 0.05:
        parameters["X"] = "x" * rng.choice([10, 4000, 6000])
    return wire.request(rng.randint(1, 6), body, flags=rng.choice([0, 1, 1, 1]), **parameters)


def odd_record(rng):
    return wire.record(
        rng.choice([1, 2, 2, 4, 5, 8, 9, 11, 200]),
        rng.choice([0, 1, 2, 3, 65535]),
        rng.randbytes(rng.choice([0, 0, 8, 30])),
        padding=rng.choice([0, 0, 7, 255]),
    )


def stream(rng):
    """What one client sends: mostly requests, sometimes cut off, with a byte changed, or odd records among them."""
    parts = [whole_request(rng) if rng.random() < 0.8 else odd_record(rng) for _ in range(rng.randint(1, 6))]
    data = bytearray(b"".join(parts))
    if rng.random() < 0.2:
        data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.2:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


class Peer:
    """One socket that sends its stream in pieces, reads now and then, and leaves in one of several ways."""

    def __init__(self, server, rng):
        self.rng, self.data = rng, stream(rng)
        self.sock = server.connect()
        self.sock.setblocking(False)
        self.reads = rng.random() < 0.8

    def step(self):
        """Do something; False where this peer has left."""
        try:
            if self.data:
                sent = self.sock.send(self.data[: self.rng.choice([1, 7, 8, 100, 65536])])
                self.data = self.data[sent:]
            if self.reads and self.sock.recv(1 << 16) == b"":
                return self.leave()
        except BlockingIOError:
            pass
        except OSError:
            return self.leave()
        if not self.data and self.rng.random() < 0.3:
            return self.leave()
        return True

    def leave(self):
        if self.rng.random() < 0.3:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
                self.sock.settimeout(0.02)
                self.sock.recv(1 << 16)
        self.sock.close()
        return False


def play(server, rng, seconds):
    peers = []
    end = time.monotonic() + seconds
    played = 0
    while time.monotonic() < end:
        while len(peers) < SOCKETS:
            peers.append(Peer(server, rng))
            played += 1
        peers = [peer for peer in peers if peer.step()]
    for peer in peers:
        peer.sock.close()
    return played


def test_server_survives_random_peers_and_keeps_nothing_of_them(server):
    seed = int(os.environ.get("FASTCORE_FUZZ_SEED", random.SystemRandom().randrange(2**32)))
    print(f"FASTCORE_FUZZ_SEED={seed}")
    rng = random.Random(seed)
    server.settle()
    before = server.descriptors()
    play(server, rng, SECONDS / 2)
    memory = resident(server.pid)
    played = play(server, rng, SECONDS / 2)
    print(f"{played} peers")
    for number in range(20):
        assert server.ask(PATH_INFO="/hello").body == b"hello", number
    server.wait_for(lambda: server.descriptors() == before, f"{before} open descriptors")
    assert resident(server.pid) - memory < LARGEST_GROWTH or SANITIZED
