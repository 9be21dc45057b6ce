"""No foreign page makes a browser write here: three locks, each of which would do.

1. The browser says where the request comes from (Sec-Fetch-Site, Origin); what comes from elsewhere is refused.
2. The cookie is SameSite=Strict: other sites' requests do not carry it.
3. The form carries a token, the keyed hash of that cookie; nobody makes one without the key, which is this user's.
"""

from __future__ import annotations

import os
from pathlib import Path

try:  # the two without hashlib and hmac, which load OpenSSL: 2 MB of this process's memory
    from _blake2 import blake2b
    from _operator import _compare_digest as compare_digest
except ImportError:  # an interpreter that was built without them
    from hashlib import blake2b
    from hmac import compare_digest

from framework import HTTPError, Request, Response

COOKIE = "notes_visitor"
FIELD = "token"
KEY_BYTES = 32
TOKEN_BYTES = 32
VISITOR_CHARACTERS = 64
_CONTEXT = b"appliance.notes form token\0"


class Tokens:
    """Makes and checks the tokens of forms with the key in `file`, which is made when first needed (0600)."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._key: bytes | None = None

    def visitor(self, request: Request) -> str:
        """The visitor's cookie, or a new one for a first visit."""
        value = request.cookies.get(COOKIE, "")
        return value if len(value) == VISITOR_CHARACTERS else os.urandom(VISITOR_CHARACTERS // 2).hex()

    def make(self, visitor: str) -> str:
        """The token for this visitor's forms."""
        return blake2b(
            _CONTEXT + visitor.encode("utf-8", "replace"), digest_size=TOKEN_BYTES, key=self._load()
        ).hexdigest()

    def keep(self, request: Request, response: Response, visitor: str) -> Response:
        """The response with the visitor's cookie, where the browser does not have it yet."""
        if request.cookies.get(COOKIE) != visitor:
            response.set_cookie(COOKIE, visitor, same_site="Strict", secure=request.scheme == "https")
        return response

    def check(self, request: Request) -> None:
        """Raises HTTPError 403, with what to do, for a request that did not come from a form of ours."""
        if not from_here(request):
            raise HTTPError(403, "This was sent from another site's page; notes are changed from their own pages only.")
        visitor = request.cookies.get(COOKIE, "")
        given = request.form.get(FIELD, "").encode("utf-8", "replace")
        if not visitor or not compare_digest(given, self.make(visitor).encode()):
            raise HTTPError(403, "The form is out of date. Go back, load its page again, and send it once more.")

    def _load(self) -> bytes:
        if self._key is None:
            self._key = _read_key(self._file) or _make_key(self._file)
        return self._key


def from_here(request: Request) -> bool:
    """Whether the browser says that a page of this host sent this. Programs and old browsers say nothing: True."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    from urllib.parse import urlsplit

    try:
        return urlsplit(origin).netloc.lower() == request.host
    except ValueError:
        return False


def _read_key(file: Path) -> bytes | None:
    try:
        key = file.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == KEY_BYTES else None


def _make_key(file: Path) -> bytes:
    """A new key. Of several processes that make one at the same time, all end up with the same."""
    draft = file.with_name(f"{file.name}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(os.urandom(KEY_BYTES))
    try:
        os.link(draft, file)
    except FileExistsError:
        if _read_key(file) is None:
            os.replace(draft, file)
            return file.read_bytes()
    finally:
        draft.unlink(missing_ok=True)
    return file.read_bytes()
