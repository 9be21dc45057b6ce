# The numbers of the FastCGI 1.0 specification (section 8) for C; the twin is fastcore.constants, a test compares them.

cdef enum:
    VERSION_1 = 1
    HEADER_LENGTH = 8
    MAX_CONTENT_LENGTH = 65535
    NULL_REQUEST_ID = 0

    BEGIN_REQUEST = 1
    ABORT_REQUEST = 2
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    STDERR = 7
    DATA = 8
    GET_VALUES = 9
    GET_VALUES_RESULT = 10
    UNKNOWN_TYPE = 11

    KEEP_CONN = 1

    RESPONDER = 1
    AUTHORIZER = 2
    FILTER = 3

    REQUEST_COMPLETE = 0
    CANT_MPX_CONN = 1
    OVERLOADED = 2
    UNKNOWN_ROLE = 3
