"""What the processes of one back end have counted since the site was started: sums that no end of a process lowers."""

from __future__ import annotations

from fastcore import scoreboard

__all__ = ["Counts"]


class Counts:
    """Requests and how long they took, of all scoreboards that a back end has had and has: a sum of what they say.

    lines_dropped  of what it has printed, those over its log_rate
    """

    __slots__ = ("_boards", "_latencies", "_requests", "lines_dropped")

    def __init__(self) -> None:
        self.lines_dropped = 0
        self._requests = 0
        self._latencies = [0] * scoreboard.BUCKETS
        self._boards: list[int] = []

    def add(self, board: int) -> None:
        """From now on that scoreboard counts; its descriptor stays open until `remove`."""
        self._boards.append(board)

    def remove(self, board: int) -> None:
        """Nothing more comes there: keep what it says."""
        self._requests, self._latencies = self._with([board])
        self._boards.remove(board)

    def read(self) -> tuple[int, list[int]]:
        """Requests, and how many of them were in each bucket of `scoreboard.bucket_limit`."""
        return self._with(self._boards)

    def _with(self, boards: list[int]) -> tuple[int, list[int]]:
        workers = [worker for board in boards for worker in scoreboard.read(board, ended=True)]
        requests = self._requests + sum(worker.requests for worker in workers)
        return requests, scoreboard.add_up([self._latencies, *(worker.latencies for worker in workers)])
