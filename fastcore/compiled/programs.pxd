from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int32_t, uint32_t

cimport cython

from fastcore.compiled.matching cimport Bits, Program


@cython.final
cdef class Programs:
    cdef tuple routes
    cdef Bits word_bits
    cdef Program** programs     # by route; NULL until it first wins. Routes with equal programs share one
    cdef dict written           # what makes programs equal -> the address of the one
    cdef list capture_sets
    cdef dict capture_numbers
    cdef dict captured          # set << 21 | codepoint -> whether it is in it
    cdef Bits* capture_bits
    cdef int8_t* capture_wide
    cdef Py_ssize_t capture_room

    cdef bint run(self, Program* program, int kind, const void* text, Py_ssize_t length, Py_ssize_t* slots) except -1
    cdef Program* program(self, Py_ssize_t index) except NULL
    cdef Program* _share_program(self, bint by_re, tuple names, splits, decided, tuple words) except NULL
    cdef int32_t _capture_number(self, chars) except -1
    cdef bint _captures_wide(self, int32_t number, uint32_t c) except -1
    cdef bint _word_character(self, int32_t kind, uint32_t c) except -1
