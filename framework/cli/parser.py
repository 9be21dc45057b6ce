"""The parser of sitectl's command line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from framework.cli import USAGE


class Parser(argparse.ArgumentParser):
    """argparse's, with its usage error on two lines and the way to the help in it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\ntry: {self.prog} --help\n")
