from libc.stdint cimport int32_t, uint32_t

cimport cython

from fastcore.compiled.matching cimport Bits, Groups, Words
from fastcore.compiled.steps cimport Steps


@cython.final
cdef class States(Steps):
    # states, each a block of words
    cdef int32_t* arena
    cdef Py_ssize_t arena_count
    cdef Py_ssize_t arena_room
    cdef dict numbers           # threads and winner as bytes -> number of the state
    cdef list keys              # number -> the same bytes
    cdef Words places           # number -> place of its block, NOWHERE while it has none
    cdef Words built            # (place, number) of each block, in the order of places
    cdef uint32_t* group_bits   # sets of ASCII characters that lead somewhere
    cdef Py_ssize_t group_room
    cdef dict group_numbers     # bits as bytes -> number
    cdef int32_t root           # place of the first state's block, FULL where the cap leaves no room for it
    cdef bytes start
    cdef readonly Py_ssize_t max_states
    cdef Py_ssize_t key_bytes   # of all keys
    cdef Py_ssize_t simulated
    cdef int walking
    # characters beyond ASCII: those in the same sets are of one class
    cdef dict classes           # codepoint -> signature
    cdef dict signatures        # signature -> (class, signature): one object for each
    cdef dict wide_targets      # (state, class) -> number of the state
    cdef bytes uniform

    cdef int32_t winner(self, int kind, const void* text, Py_ssize_t length) except? -9
    cdef int _start(self) except -1
    cdef int32_t _intern(self) except? -9
    cdef int _grow_arena(self, Py_ssize_t more) except -1
    cdef int32_t _align(self, int32_t place, Py_ssize_t size) noexcept
    cdef int32_t _group_number(self, const Bits* bits) except -1
    cdef int32_t _build(self, int32_t number) except? -9
    cdef int32_t _wide_of(self, const uint32_t* threads, Py_ssize_t count) except? -9
    cdef int32_t _gather(self, Groups* groups, const uint32_t* threads, Py_ssize_t count) except? -9
    cdef int32_t _write_groups(self, int32_t* block, Groups* groups, int32_t number, int32_t flags) except? -9
    cdef int32_t _write_run(self, int32_t place, uint32_t thread) except? -9
    cdef int _only_character(self, const uint32_t* threads, Py_ssize_t count) noexcept
    cdef tuple _classify(self, int32_t codepoint)
    cdef int32_t _wide(self, int32_t place, int32_t codepoint) except? -9
