"""Queries and forms: URL-encoded text and multipart bodies, read into `MultiDict`s within the application's `Limits`.

Multipart is parsed by the library `multipart` (sans-IO, no dependencies), imported when the first such form is read.
Only HTTPError leaves this module for what a client sent: 400 for what is malformed, 413 for what is over a limit.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from framework.errors import BadRequest, HTTPError, too_large
from framework.multidict import MultiDict

if TYPE_CHECKING:
    from framework.limits import Limits

READ_BYTES = 64 * 1024
MAX_FIELD_NAME = 1024
"""Characters of a multipart field's name and of a file's name."""


def parse_query(text: str, limit: int) -> MultiDict[str]:
    """A query string, given as the latin-1 text that CGI has; raises BadRequest.

    Example: ``parse_query("a=1&a=2&b=", 10).getlist("a") == ["1", "2"]``.
    """
    if not text:
        return MultiDict((), "query")
    if not text.isascii():
        try:
            text = text.encode("latin-1").decode()
        except UnicodeError:
            raise BadRequest("The query is not UTF-8.") from None
    return MultiDict(_parse_pairs(text, limit, "query", 400), "query")


def parse_urlencoded(body: bytes, limit: int) -> MultiDict[str]:
    """An application/x-www-form-urlencoded body; raises BadRequest, or HTTPError 413 for too many fields."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise BadRequest("The form is not UTF-8.") from None
    return MultiDict(_parse_pairs(text, limit, "form", 413), "form")


def _parse_pairs(text: str, limit: int, kind: str, status: int) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    if text.count("&") >= limit:
        raise HTTPError(status, f"The {kind} has more than {limit} fields.")
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest(f"A field of the {kind} is not UTF-8.") from None
    except ValueError as error:
        raise BadRequest(f"The {kind} is malformed: {error}.") from None


class UploadedFile:
    """One file of a form. Its bytes are in memory, or in an unnamed temporary file where they are many.

    `filename` is what the client says it is called: the last part of a path, never to be trusted as one; `content_type`
    what the client says it is; `size` in bytes; `file` a binary file at position 0.
    """

    __slots__ = ("content_type", "file", "filename", "name", "size")

    def __init__(self, name: str, filename: str, content_type: str, file: BinaryIO, size: int) -> None:
        self.name = name
        self.filename = filename
        self.content_type = content_type
        self.file = file
        self.size = size

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes; all that are left without it."""
        return self.file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.file.read(READ_BYTES):
            yield chunk

    def save(self, path: str | os.PathLike[str], *, mode: int = 0o600) -> None:
        """Write the file to `path`, which must not exist (FileExistsError)."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as target:
            self.file.seek(0)
            for chunk in self:
                target.write(chunk)

    def close(self) -> None:
        """Free the memory or temporary file."""
        self.file.close()

    def __repr__(self) -> str:
        return f"<UploadedFile {self.name!r} {self.filename!r} {self.size} bytes>"


class MultipartForm:
    """Reads one multipart/form-data body; where that fails, no file is left open."""

    def __init__(self, boundary: str, limits: Limits) -> None:
        """`boundary` is the parameter of the Content-Type."""
        self._limits = limits
        self._boundary = boundary
        self._fields: list[tuple[str, str]] = []
        self._files: list[tuple[str, UploadedFile]] = []
        self._field_bytes = 0

    def read(self, body: BinaryIO) -> tuple[MultiDict[str], MultiDict[UploadedFile]]:
        """Fields and files of `body`. Raises HTTPError 400 or 413; the files are closed then."""
        import multipart  # type: ignore[import-untyped]

        limits = self._limits
        left = limits.upload_bytes
        try:
            with multipart.PushMultipartParser(
                self._boundary,
                max_segment_count=limits.form_fields + limits.files,
                max_segment_size=max(limits.file_bytes, limits.body_bytes),
            ) as parser:
                part: _Part | None = None
                while not parser.closed:
                    chunk = body.read(min(READ_BYTES, left + 1))
                    left -= len(chunk)
                    if left < 0:
                        too_large("The form", limits.upload_bytes)
                    for event in parser.parse(chunk):
                        part = self._on_event(event, part)
        except multipart.ParserLimitReached as error:
            self._close()
            raise HTTPError(413, f"The form is over a limit: {error}.") from None
        except multipart.MultipartError as error:
            self._close()
            raise BadRequest(f"The form is malformed: {error}.") from None
        except BaseException:
            self._close()
            raise
        return MultiDict(self._fields, "form"), MultiDict(self._files, "files")

    def _on_event(self, event: Any, part: _Part | None) -> _Part | None:
        """One event of the parser: a part's head, a piece of its body, or its end (None)."""
        if event is None:
            if part is not None:
                self._finish(part)
            return None
        if part is None:
            return _Part(event, self._limits)
        part.write(event)
        if not part.filename:
            self._field_bytes += len(event)
            if self._field_bytes > self._limits.body_bytes:
                too_large("The text of the form", self._limits.body_bytes)
        return part

    def _finish(self, part: _Part) -> None:
        if part.filename is None:
            if len(self._fields) >= self._limits.form_fields:
                raise HTTPError(413, f"The form has more than {self._limits.form_fields} fields.")
            self._fields.append((part.name, part.text()))
            return
        if not part.filename and not part.size:
            part.close()  # a file input that the user left empty
            return
        if len(self._files) >= self._limits.files:
            part.close()
            raise HTTPError(413, f"The form has more than {self._limits.files} files.")
        self._files.append((part.name, part.uploaded_file()))

    def _close(self) -> None:
        for _, file in self._files:
            file.close()


class _Part:
    """One part while it arrives."""

    __slots__ = ("_file", "_limits", "content_type", "filename", "name", "size")

    def __init__(self, segment: Any, limits: Limits) -> None:
        self.name: str = segment.name
        if not self.name:
            raise BadRequest("The form is malformed: a part has no name.")
        self.filename: str | None = segment.filename
        self.content_type: str = segment.content_type or "application/octet-stream"
        if len(self.name) > MAX_FIELD_NAME or len(self.filename or "") > MAX_FIELD_NAME:
            raise BadRequest("The name of a field of the form is too long.")
        self._limits = limits
        self._file: BinaryIO = io.BytesIO()
        self.size = 0

    def write(self, data: bytes) -> None:
        limits = self._limits
        self.size += len(data)
        if self.filename is not None:
            if self.size > limits.file_bytes:
                self.close()
                too_large("A file of the form", limits.file_bytes)
            if isinstance(self._file, io.BytesIO) and self.size > limits.file_memory_bytes:
                import tempfile

                spooled: Any = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the request)
                spooled.write(self._file.getbuffer())
                self._file = spooled
        self._file.write(data)

    def text(self) -> str:
        self._file.seek(0)
        try:
            return self._file.read().decode()
        except UnicodeDecodeError:
            raise BadRequest(f"The field {self.name!r} of the form is not UTF-8.") from None

    def uploaded_file(self) -> UploadedFile:
        self._file.seek(0)
        name = (self.filename or "").replace("\\", "/").rpartition("/")[2]
        return UploadedFile(self.name, name.replace("\0", ""), self.content_type, self._file, self.size)

    def close(self) -> None:
        self._file.close()


def parse_content_type(value: str | None) -> tuple[str, dict[str, str]]:
    """A Content-Type as type and parameters: ``parse_content_type('a/b; x="y"') == ("a/b", {"x": "y"})``."""
    if not value:
        return "", {}
    kind, *rest = value.split(";")
    parameters = {}
    for part in rest:
        name, equals, text = part.strip().partition("=")
        if equals:
            parameters[name.lower()] = text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text
    return kind.strip().lower(), parameters
