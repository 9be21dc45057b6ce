from collections.abc import Callable, Collection

class Peers:
    def __init__(
        self, allow_uids: Collection[int] | None, allow_hosts: Collection[str], complain: Callable[[str], None]
    ) -> None: ...
