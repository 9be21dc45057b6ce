# A big piece of an answer sent from where it lies. The twin does it in fastcore.pure.service.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from fastcore.compiled.buffer cimport Buffer, buffer_drop, buffer_free, buffer_length, buffer_put
from fastcore.compiled.cursor cimport Cursor, cursor_over, take
from fastcore.compiled.protocol cimport HEADER_LENGTH, STDOUT, VERSION_1
from fastcore.compiled.system cimport MSG_DONTWAIT, MSG_NOSIGNAL, iovec, msghdr, sendmsg


cdef enum:
    DIRECT_RECORDS = 2
    DIRECT_CONTENT = 65535 - 7  # bytes of one of them
    DIRECT_LEAST = 16384        # bytes of a piece that is worth a sendmsg() of its own


cdef inline bint is_direct(bytes chunk, Buffer* output):
    """Whether a piece is better sent from where it lies than copied behind what is in the output."""
    return DIRECT_LEAST <= PyBytes_GET_SIZE(chunk) <= DIRECT_RECORDS * DIRECT_CONTENT and not buffer_length(output)


cdef inline int send_direct(int fd, Buffer* output, int request_id, bytes chunk) except -1:
    """Send a piece of STDOUT, at most 2 * DIRECT_CONTENT bytes, and what is in the output after it; keep what does not go.

    Returns whether something went. An error is left to the next send(), which meets it again.
    """
    cdef uint8_t[DIRECT_RECORDS][HEADER_LENGTH] headers
    cdef Buffer rest = Buffer(NULL, 0, 0, 0)
    cdef Cursor content = cursor_over(<const uint8_t*>PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk))
    cdef Cursor part
    cdef iovec[2 * DIRECT_RECORDS + 1] parts
    cdef msghdr message
    cdef int count = 0
    cdef int index
    cdef Py_ssize_t size
    cdef ssize_t sent, went
    for index in range(DIRECT_RECORDS):
        if content.left:
            size = min(content.left, <Py_ssize_t>DIRECT_CONTENT)
            headers[index] = [VERSION_1, STDOUT, request_id >> 8, request_id & 255, size >> 8, size & 255, 0, 0]
            parts[count] = iovec(<void*>&headers[index][0], HEADER_LENGTH)
            parts[count + 1] = iovec(<void*>take(&content, size), size)
            count += 2
    parts[count] = iovec(output.data + output.start, buffer_length(output))
    count += 1
    message = msghdr(NULL, 0, NULL, 0, NULL, 0, 0)
    message.msg_iov = parts
    message.msg_iovlen = count
    went = sent = max(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT), <ssize_t>0)
    try:
        for index in range(count):
            part = cursor_over(<const uint8_t*>parts[index].iov_base, parts[index].iov_len)
            size = min(<Py_ssize_t>sent, part.left)
            take(&part, size)
            sent -= size
            buffer_put(&rest, part.at, part.left)
    except BaseException:
        buffer_free(&rest)
        raise
    if buffer_length(&rest):
        buffer_free(output)
        output[0] = rest
    else:
        buffer_drop(output, buffer_length(output))
    return went > 0
