"""The numbers of the FastCGI 1.0 specification (section 8), under its own names. No behaviour lives here."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from typing import Final

VERSION_1: Final = 1
HEADER_LENGTH: Final = 8  # bytes
MAX_CONTENT_LENGTH: Final = 65535  # bytes of content in one record
NULL_REQUEST_ID: Final = 0  # management records

# Record types
BEGIN_REQUEST: Final = 1
ABORT_REQUEST: Final = 2
END_REQUEST: Final = 3
PARAMS: Final = 4
STDIN: Final = 5
STDOUT: Final = 6
STDERR: Final = 7
DATA: Final = 8
GET_VALUES: Final = 9
GET_VALUES_RESULT: Final = 10
UNKNOWN_TYPE: Final = 11

# Flags of BEGIN_REQUEST
KEEP_CONN: Final = 1

# Roles
RESPONDER: Final = 1
AUTHORIZER: Final = 2
FILTER: Final = 3
ROLE_NAMES: Final = {RESPONDER: "RESPONDER", AUTHORIZER: "AUTHORIZER", FILTER: "FILTER"}

# protocolStatus of END_REQUEST
REQUEST_COMPLETE: Final = 0
CANT_MPX_CONN: Final = 1
OVERLOADED: Final = 2
UNKNOWN_ROLE: Final = 3

# Names of GET_VALUES
MAX_CONNS: Final = b"FCGI_MAX_CONNS"
MAX_REQS: Final = b"FCGI_MAX_REQS"
MPXS_CONNS: Final = b"FCGI_MPXS_CONNS"

BROKEN_OFF: Final = bytes(8)
"""No record (its version is 0): what ends a connection whose answer is not whole. Not of the specification."""
