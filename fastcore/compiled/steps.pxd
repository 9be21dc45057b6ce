from libc.stdint cimport int8_t, int32_t, uint8_t, uint32_t

from fastcore.compiled.matching cimport Bits, Words


cdef class Steps:
    # the automaton, as arrays: edges by the node they leave
    cdef int32_t node_count
    cdef int32_t* character_start
    cdef int32_t* character_set
    cdef int32_t* character_to
    cdef int32_t* free_start
    cdef int32_t* free_kind
    cdef int32_t* free_to
    cdef int32_t* first_route
    cdef int32_t* exit_of
    cdef Bits* set_bits
    cdef int8_t* set_wide
    cdef list charsets
    cdef Bits word_bits
    cdef bint asks_words        # some edge asserts \b or \B
    cdef bint asks_lines        # some edge asserts ^ in MULTILINE
    # scratch of one step
    cdef Words stack
    cdef Words result
    cdef uint32_t* stamps
    cdef uint32_t stamp
    cdef int32_t won

    cdef int _take_automaton(self, automaton) except -1
    cdef void _begin_step(self) noexcept
    cdef int _reach(self, uint32_t thread) except -1
    cdef int _close(self, int32_t previous, const uint8_t* signature) except -1
    cdef int32_t _promise(self, int32_t kind, uint32_t owed, int32_t previous, const uint8_t* signature) noexcept
    cdef bint _is_word(self, int32_t c, const uint8_t* signature) noexcept
    cdef int32_t _pay(self, uint32_t owed, int32_t c, const uint8_t* signature) noexcept
    cdef int _step(self, const uint32_t* threads, Py_ssize_t count, int32_t c, const uint8_t* signature) except -1
    cdef bint _in_set(self, int32_t number, int32_t c, const uint8_t* signature) noexcept
    cdef int32_t _at_end(self, const uint32_t* threads, Py_ssize_t count) noexcept
