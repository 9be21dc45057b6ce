"""What one application accepts of what clients send. Everything that a client can make grow has its limit here.

The server in front has limits of its own (`fastcore.Limits`): what is longer than those never arrives.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB


class Limits:
    """Limits of an `App`, all positive integers. What is over a limit is answered with 413 (400 for query and cookies).

    Args:
        body_bytes: bytes of a body read whole into memory: `request.json`, `request.data`, a URL-encoded form.
        upload_bytes: bytes of a multipart form in total.
        file_bytes: bytes of one uploaded file.
        file_memory_bytes: bytes of one uploaded file kept in memory; what is longer goes to an unnamed temporary file.
        files: files of one form.
        form_fields: fields of one form, files not counted.
        query_fields: fields of one query.
        cookies: cookies of one request.

    Example: ``App(urls, limits=Limits(upload_bytes=512 * MIB, file_bytes=512 * MIB))``.
    """

    __slots__ = (
        "body_bytes",
        "cookies",
        "file_bytes",
        "file_memory_bytes",
        "files",
        "form_fields",
        "query_fields",
        "upload_bytes",
    )

    def __init__(
        self,
        *,
        body_bytes: int = 1 * MIB,
        upload_bytes: int = 64 * MIB,
        file_bytes: int = 64 * MIB,
        file_memory_bytes: int = 64 * KIB,
        files: int = 32,
        form_fields: int = 1000,
        query_fields: int = 1000,
        cookies: int = 100,
    ) -> None:
        self.body_bytes = body_bytes
        self.upload_bytes = upload_bytes
        self.file_bytes = file_bytes
        self.file_memory_bytes = file_memory_bytes
        self.files = files
        self.form_fields = form_fields
        self.query_fields = query_fields
        self.cookies = cookies
        for name in self.__slots__:
            value = getattr(self, name)
            if type(value) is not int or value <= 0:
                raise ValueError(f"Limits.{name} must be a positive int, not {value!r}")


DEFAULT_LIMITS = Limits()
