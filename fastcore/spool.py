"""Unnamed temporary files for what does not fit in memory: made in one directory, gone with their last descriptor."""

from __future__ import annotations

import os

from fastcore.errors import FastCGIError

_FALLBACKS = ("/tmp", "/var/tmp")  # noqa: S108 (files without a name: nobody can guess one)


class SpoolError(FastCGIError):
    """The directory for temporary files cannot be used; the message says what to do."""


def default_directory() -> str:
    """Where temporary files go unless told: TMPDIR, else /tmp, else /var/tmp, whichever is a directory."""
    candidates = (os.environ.get("TMPDIR", ""), *_FALLBACKS)
    return next((directory for directory in candidates if directory and os.path.isdir(directory)), _FALLBACKS[0])


def open_unnamed(directory: str | None = None) -> int:
    """A new empty file without a name, open for reading and writing; the caller closes the descriptor.

    `directory` is on the file system that is to hold it; None for default_directory(). Raises OSError.
    """
    directory = directory or default_directory()
    try:
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:  # EOPNOTSUPP, EISDIR, ENOENT: which of them depends on the file system (open(2))
        if isinstance(error, PermissionError) or not os.path.isdir(directory):
            raise
    for _ in range(100):
        path = os.path.join(directory, f".fastcore-{os.urandom(12).hex()}")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            continue
        os.unlink(path)
        return descriptor
    raise FileExistsError(f"no free name in {directory}")


def check_directory(directory: str) -> str:
    """The directory's absolute path. Raises SpoolError, with the way out, where no file can be made in it."""
    path = os.path.abspath(directory)
    user = f"user id {os.geteuid()}"
    if not os.path.isdir(path):
        what = "is not a directory" if os.path.exists(path) else "does not exist"
        raise SpoolError(f"the spool directory {path} {what}; make it: install -d -m 700 -o USER {path}")
    try:
        os.close(open_unnamed(path))
    except PermissionError:
        raise SpoolError(
            f"the spool directory {path} is not writable for {user}; give it to that user: chown USER {path}"
        ) from None
    except OSError as error:
        raise SpoolError(f"the spool directory {path} takes no file: {error.strerror}; choose another") from None
    return path
