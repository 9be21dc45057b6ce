"""`sitectl`: one command, `sitectl COMMAND [SITE.toml]`, for everything around a site.

Each command is a module of this package with `HELP` (its first line is what the list of commands shows),
`configure(parser)` and `run(arguments) -> int`; only the one that was chosen is imported. `plain(words)`, where a
command has it, understands the usual arguments without argparse, or returns None. A user's mistake is a message
and an exit status (0 done, 1 a problem was found, 2 the command line is wrong), never a traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from types import SimpleNamespace

    from framework.site import Site

OK: Final = 0
PROBLEM: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

COMMANDS: Final = (
    *("check", "setup", "run", "dev", "status", "metrics", "doctor", "reload", "stop"),
    *("urls", "call", "types", "config", "systemd", "certificate", "remove"),
)
"""All commands, in the order in which a newcomer meets them."""

_EXAMPLES: Final = """\
examples:
  sitectl check                    is ./site.toml right? says all mistakes at once
  sudo sitectl setup site.toml     make the accounts and folders it names
  sudo sitectl run site.toml       start it; Ctrl-C stops it
  sitectl dev site.toml            try it without root, code is reloaded as it changes
  sitectl COMMAND --help           what a command does, with examples

exit status: 0 done, 1 a problem was found, 2 the command line is wrong
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sitectl` with these arguments (without the program's name) and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as leaving:  # argparse has said what it had to say
        return leaving.code if isinstance(leaving.code, int) else USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `sitectl urls | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PROBLEM
    except Exception as error:
        if not _is_users(error):
            raise
        print(_message(error), file=sys.stderr)
        return PROBLEM


def add_site_argument(parser: argparse.ArgumentParser) -> None:
    """The argument SITE.toml of a command; `load_site` reads it."""
    parser.add_argument(
        "site",
        nargs="?",
        default="site.toml",
        metavar="SITE.toml",
        help="the site file, or the folder that holds a site.toml (default: ./site.toml)",
    )


def add_listen_argument(parser: argparse.ArgumentParser) -> None:
    """The option --listen of a command that starts a site; `load_site` lets it take the place of the file's."""
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="accept HTTP here instead of where the site file says")


def load_site(arguments: argparse.Namespace | SimpleNamespace, **overrides: Any) -> Site:
    """The site that the arguments name; prints its warnings and notes on standard error.

    `overrides` and --listen take the place of keys of ``[site]``. Raises SiteError, which `main` prints.
    """
    from framework.site import load

    listen = getattr(arguments, "listen", None)
    if listen is not None:
        overrides["listen"] = listen
    site = load(arguments.site, overrides=overrides)
    for remark in site.remarks:
        print(remark, file=sys.stderr)
    return site


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        return _run_command(arguments[0], arguments[1:])
    import argparse

    from framework.cli.parser import Parser

    parser = Parser(
        prog="sitectl",
        description="Check, start and look after a site: one front end, several back ends, each under its own account.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="sitectl COMMAND [SITE.toml] [options]",
    )
    parser.add_argument("--version", action="store_true", help="show the version and what it runs on")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        if arguments[1:] and arguments[1] in COMMANDS:
            return _dispatch([arguments[1], "--help"])
        parser.epilog = f"commands:\n{_command_list()}\n\n{_EXAMPLES}"
        parser.print_help(sys.stdout if arguments else sys.stderr)
        return OK if arguments else USAGE
    if arguments[0] in ("--version", "version"):
        print(_version())
        return OK
    name = arguments[0]
    parser.error(f"unrecognized option {name}" if name.startswith("-") else _unknown_command(name))


def _run_command(name: str, arguments: list[str]) -> int:
    module: Any = importlib.import_module(f"framework.cli.{name}")
    given: Any = module.plain(arguments) if hasattr(module, "plain") else None
    if given is None:
        given = _parsed(name, module, arguments)
    status: int = module.run(given)
    return status


def _parsed(name: str, module: Any, arguments: list[str]) -> argparse.Namespace:
    import argparse

    from framework.cli.parser import Parser

    parser = Parser(
        prog=f"sitectl {name}", description=module.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.configure(parser)
    return parser.parse_intermixed_args(arguments)


def _command_list() -> str:
    """Each command with the first line of its HELP."""
    width = max(map(len, COMMANDS))
    helps = {name: str(importlib.import_module(f"framework.cli.{name}").HELP) for name in COMMANDS}
    return "\n".join(f"  {name:<{width}}  {text.strip().partition(chr(10))[0]}" for name, text in helps.items())


def _unknown_command(name: str) -> str:
    if name.endswith(".toml") or os.path.exists(name):
        return f"{name!r} is not a command; the command comes first: sitectl check {name}"
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    return f"unknown command {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("fastcore-fcgi")
    except PackageNotFoundError:
        number = "(not installed)"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"sitectl {number} on Python {python}"


def _is_users(error: Exception) -> bool:
    """True for an error whose message is all a user needs: a wrong site file, or what the system refused."""
    from framework.site.problems import SiteError

    return isinstance(error, (SiteError, OSError))


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"sitectl: {os.fsdecode(error.filename)}: {error.strerror}"
    from framework.site.problems import SiteError

    if isinstance(error, SiteError):
        count = sum(problem.level == "error" for problem in error.problems)
        return f"{error}\n{count} {'error' if count == 1 else 'errors'}; nothing was started or changed"
    return f"sitectl: {error}"
