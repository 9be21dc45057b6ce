"""Files as answers: opened once, sent by the chunk or by the server itself, with the facts that caches need.

No conditions and no status here: `Response.file` and `App` decide those.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

from fastcore.files import FileBody
from framework.errors import HTTPError

CHUNK_BYTES = 64 * 1024

__all__ = ["CHUNK_BYTES", "FileBody", "content_type_of", "open_regular", "safe_join"]

_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)

_CONTENT_TYPES = {
    ".avif": "image/avif",
    ".bin": "application/octet-stream",
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".htm": "text/html; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".log": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".xhtml": "application/xhtml+xml",
    ".xml": "application/xml",
    ".zip": "application/zip",
}


def content_type_of(name: str) -> str:
    """The media type of a file name: ``content_type_of("a.png") == "image/png"``."""
    extension = os.path.splitext(name)[1].lower()
    known = _CONTENT_TYPES.get(extension)
    if known is not None:
        return known
    import mimetypes

    guessed, encoding = mimetypes.MimeTypes().guess_type(f"file{extension}")
    return guessed if guessed is not None and encoding is None else "application/octet-stream"


def safe_join(folder: str | os.PathLike[str], path: str) -> str:
    """The path of `path` inside `folder`; it cannot lead out of it, neither by ``..`` nor by a symbolic link.

    Args:
        folder: a directory that the programmer chose.
        path: what a client asked for, relative to it; ``/`` separates.

    Raises HTTPError 404 for whatever would leave the folder or is no path at all; the file need not exist.
    Example: ``Response.file(safe_join("/srv/manuals", name))``.
    """
    if "\0" in path or "\\" in path or path.startswith("/"):
        raise HTTPError(404)
    if any(part in ("..", ".") for part in path.split("/")):
        raise HTTPError(404)
    root = os.path.realpath(folder)
    try:
        joined = os.path.realpath(os.path.join(root, path))
    except (OSError, ValueError):
        raise HTTPError(404) from None
    if joined != root and not joined.startswith(root.rstrip("/") + "/"):
        raise HTTPError(404)
    return joined


def open_regular(path: str | os.PathLike[str]) -> tuple[BinaryIO, os.stat_result]:
    """The file open for reading and its facts; HTTPError 404 where there is none or it is not a regular file."""
    try:
        # O_NONBLOCK: a FIFO of that name must not hold up the worker
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError:
        raise HTTPError(404) from None
    except OSError as error:
        if error.errno in _NO_SUCH_FILE:
            raise HTTPError(404) from None
        raise
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise HTTPError(404)
    return os.fdopen(descriptor, "rb", buffering=0), facts
