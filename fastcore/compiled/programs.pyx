# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, embedsignature=True
"""Where a winning route's parameters lie: runs the programs of `fastcore.routing.captures`, linear in the path.

A decided program only skips and spans. The others try their choices in the order of `re`, none twice at the same place.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from fastcore.compiled.matching cimport *

import re
import sys

from fastcore.routing import automaton as nfa
from fastcore.routing import captures, simulation
from fastcore.routing.charsets import word_set

cdef bint EMPTY_TEXT_HAS_NO_BOUNDARY = simulation.EMPTY_TEXT_HAS_NO_BOUNDARY


@cython.no_gc_clear  # `written` is needed until the programs are freed
cdef class Programs:
    """The capture programs of some routes, each written when its route first wins."""

    def __cinit__(self):
        self.capture_sets, self.capture_numbers, self.captured, self.written = [], {}, {}, {}

    def __init__(self, routes):
        self.routes = tuple(routes)
        self.word_bits = bits_of(word_set(re.UNICODE).ascii)
        self.programs = <Program**>checked_malloc(len(self.routes) * sizeof(Program*))
        memset(self.programs, 0, len(self.routes) * sizeof(Program*))

    def __dealloc__(self):
        for address in (self.written or {}).values():
            free(<void*><size_t>address)
        free(self.programs)
        free(self.capture_bits)
        free(self.capture_wide)

    cdef bint run(self, Program* program, int kind, const void* text, Py_ssize_t length, Py_ssize_t* slots) except -1:
        """Sets the slots; False where it finds no match, which cannot be when the automaton has found one."""
        cdef Py_ssize_t i
        if program.by_re:
            return False
        for i in range(program.slots):
            slots[i] = -1
        if kind == 1:
            return run_on[uint8_t](self, program, <const uint8_t*>text, length, slots)
        if kind == 2:
            return run_on[uint16_t](self, program, <const uint16_t*>text, length, slots)
        return run_on[uint32_t](self, program, <const uint32_t*>text, length, slots)

    cdef Program* program(self, Py_ssize_t index) except NULL:
        """The route's program, written when the route first wins."""
        if self.programs[index] != NULL:
            return self.programs[index]
        cdef tuple names = tuple([sys.intern(name) for name in self.routes[index].groups])  # one object for all routes
        cdef bint by_re = 2 * len(names) > MAX_SLOTS
        cdef list words = []
        splits, decided = 0, True
        if names and not by_re:
            try:
                written = captures.write_program(self.routes[index])
                words = captures.renumber_sets(written.words, [self._capture_number(chars) for chars in written.sets])
                splits, decided = written.splits, written.decided
            except nfa.NotRegularError:
                by_re = True
        self.programs[index] = self._share_program(by_re, names, splits, decided, tuple(words))
        return self.programs[index]

    cdef Program* _share_program(self, bint by_re, tuple names, splits, decided, tuple words) except NULL:
        """The one program that is like this. PERF: bench/router.py, 10,000 routes: they stay in the processor's cache."""
        key = by_re, names, splits, decided, words
        known = self.written.get(key)
        if known is not None:
            return <Program*><size_t>known
        cdef Program* program = <Program*>checked_malloc(sizeof(Program) + len(words) * sizeof(int32_t))
        cdef Py_ssize_t i
        program.words = <int32_t*>(program + 1)
        for i in range(<Py_ssize_t>len(words)):
            program.words[i] = words[i]
        program.names, program.slots, program.splits = <PyObject*>names, <int32_t>(2 * len(names)), splits
        program.decided, program.by_re = decided, by_re
        self.written[key] = <size_t>program
        return program

    cdef int32_t _capture_number(self, chars) except -1:
        key = (chars.ascii, chars.wide, getattr(chars, "sets", None) or chars)
        known = self.capture_numbers.get(key)
        if known is not None:
            return known
        cdef Py_ssize_t number = len(self.capture_sets)
        if number == self.capture_room:
            self.capture_room = 2 * number + 16
            self.capture_bits = <Bits*>realloc(self.capture_bits, self.capture_room * sizeof(Bits))
            self.capture_wide = <int8_t*>realloc(self.capture_wide, self.capture_room)
            if self.capture_bits == NULL or self.capture_wide == NULL:
                raise MemoryError()
        self.capture_bits[number] = bits_of(chars.ascii)
        self.capture_wide[number] = wide_code(chars.wide)
        self.capture_sets.append(chars)
        self.capture_numbers[key] = number
        return <int32_t>number

    cdef bint _captures_wide(self, int32_t number, uint32_t c) except -1:
        """A character beyond ASCII. Where some are in the set and some are not, it is asked once for each."""
        if self.capture_wide[number] != 2:
            return self.capture_wide[number]
        key = <int64_t>number << 21 | c
        known = self.captured.get(key)
        if known is None:
            if len(self.captured) >= MAX_WIDE_CACHE:
                self.captured.clear()
            known = self.captured[key] = c in self.capture_sets[number]
        return known

    cdef bint _word_character(self, int32_t kind, uint32_t c) except -1:
        if c < 128:
            return has(self.word_bits.w, c)
        if kind == A_ASCII_BOUNDARY or kind == A_ASCII_NO_BOUNDARY:
            return False
        return c in word_set(re.UNICODE)


cdef inline bint takes(Programs self, int32_t number, uint32_t c) except -1:
    """Whether the character is in the set."""
    if c < 128:
        return has(self.capture_bits[number].w, c)
    return self._captures_wide(number, c)


cdef bint run_on(Programs self, Program* program, const Character* text, Py_ssize_t length, Py_ssize_t* slots) except -1:
    """Runs a program; False where it finds no match, which cannot be when the automaton has found one."""
    cdef const int32_t* code = program.words
    cdef Py_ssize_t at = 0
    cdef int32_t number
    while program.decided:
        if code[0] == OP_SKIP:
            at += code[1]
            code += 2
        elif code[0] == OP_SAVE:
            slots[code[1]] = at
            code += 2
        elif code[0] == OP_SPAN:
            number = code[1]
            while at < length and takes(self, number, text[at]):
                at += 1
            code += 2
        elif code[0] == OP_SPLIT:
            if at == length:
                number = 1 if code[5] & PREFERRED_AT_END else 2
            elif at > length:
                return False
            else:
                number = 1 if takes(self, code[3], text[at]) else 2
            code = program.words + code[number]
        elif code[0] == OP_JUMP:
            code = program.words + code[1]
        else:
            return at <= length
    return backtrack[Character](self, program, text, length, slots)


cdef bint backtrack(Programs self, Program* program, const Character* text, Py_ssize_t length, Py_ssize_t* slots) except -1:
    """The same with choices: tried in order, and none twice at the same place."""
    cdef const int32_t* code = program.words
    cdef Py_ssize_t at = 0, depth = 0, room = 0, seen
    cdef Choice* choices = NULL
    cdef Choice* grown
    cdef uint8_t* tried = <uint8_t*>calloc(((program.splits * (length + 1)) >> 3) + 1, 1)  # most of it is never touched
    cdef bint first, second, failed
    if tried == NULL:
        raise MemoryError()
    try:
        while True:
            if depth + 1 >= room:
                room = 2 * room + 32
                grown = <Choice*>realloc(choices, room * sizeof(Choice))
                if grown == NULL:
                    raise MemoryError()
                choices = grown
            failed = False
            if code[0] == OP_SET:
                if at < length and takes(self, code[1], text[at]):
                    at += 1
                    code += 2
                else:
                    failed = True
            elif code[0] == OP_SPAN:
                while at < length and takes(self, code[1], text[at]):
                    at += 1
                code += 2
            elif code[0] == OP_SAVE:
                if depth:
                    choices[depth].place, choices[depth].code = slots[code[1]], -1 - code[1]
                    depth += 1
                slots[code[1]] = at
                code += 2
            elif code[0] == OP_SPLIT:
                if at == length:
                    first, second = code[5] & PREFERRED_AT_END, code[5] & OTHER_AT_END
                else:
                    first = code[5] & PREFERRED_ALWAYS or takes(self, code[3], text[at])
                    second = code[5] & OTHER_ALWAYS or takes(self, code[4], text[at])
                if first and second:
                    seen = code[6] * (length + 1) + at
                    if tried[seen >> 3] >> (seen & 7) & 1:
                        failed = True
                    else:
                        tried[seen >> 3] |= <uint8_t>(1 << (seen & 7))
                        choices[depth].place, choices[depth].code = at, code[2]
                        depth += 1
                        code = program.words + code[1]
                elif first or second:
                    code = program.words + code[1 if first else 2]
                else:
                    failed = True
            elif code[0] == OP_JUMP:
                code = program.words + code[1]
            elif code[0] == OP_ASSERT:
                failed = not holds[Character](self, code[1], text, length, at)
                code += 2
            else:
                return True
            while failed:
                if depth == 0:
                    return False
                depth -= 1
                if choices[depth].code < 0:
                    slots[-1 - choices[depth].code] = choices[depth].place
                else:
                    at = choices[depth].place
                    code = program.words + choices[depth].code
                    failed = False
    finally:
        free(tried)
        free(choices)


cdef bint holds(Programs self, int32_t kind, const Character* text, Py_ssize_t length, Py_ssize_t at) except -1:
    cdef bint before, after
    if kind == A_START:
        return at == 0
    if kind == A_LINE_START:
        return at == 0 or text[at - 1] == 10
    if kind == A_END:
        return at == length
    if kind == A_END_OR_NEWLINE:
        return at == length or (at == length - 1 and text[at] == 10)
    if kind == A_LINE_END:
        return at == length or text[at] == 10
    if length == 0 and (kind == A_BOUNDARY or kind == A_ASCII_BOUNDARY or EMPTY_TEXT_HAS_NO_BOUNDARY):
        return False
    before = at > 0 and self._word_character(kind, text[at - 1])
    after = at < length and self._word_character(kind, text[at])
    return (before != after) == (kind == A_BOUNDARY or kind == A_ASCII_BOUNDARY)
