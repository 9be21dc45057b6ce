# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, embedsignature=True
"""The automaton (`fastcore.routing.automaton`) as arrays, and one step in it: threads and a character in, threads out.

`fastcore.routing.simulation` is the readable definition of what a step does. Nothing here is kept from one step to the next:
`fastcore.compiled.states` keeps what it is given.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int8_t, int32_t, uint8_t, uint32_t
from libc.stdlib cimport free, qsort
from libc.string cimport memcpy, memset

from fastcore.compiled.matching cimport *

import re

from fastcore.routing import simulation
from fastcore.routing.charsets import word_set

cdef bint EMPTY_TEXT_HAS_NO_BOUNDARY = simulation.EMPTY_TEXT_HAS_NO_BOUNDARY


cdef int32_t* copied(object numbers) except NULL:
    """The numbers of an array("i"), to be freed. (A typed memoryview would cost this module 65 kB of code.)"""
    cdef Py_buffer found
    cdef int32_t* copy
    PyObject_GetBuffer(numbers, &found, PyBUF_SIMPLE)
    try:
        if found.itemsize != sizeof(int32_t):
            raise ValueError(f"an automaton has numbers of 4 bytes, not {found.itemsize}")
        copy = <int32_t*>checked_malloc(found.len)
        memcpy(copy, found.buf, found.len)
        return copy
    finally:
        PyBuffer_Release(&found)


cdef int sort_edges(
    object numbers, Py_ssize_t count, int32_t nodes, int32_t* start, int32_t* label, int32_t* to
) except -1:
    """Edges (from, label, to) by the node they leave: those of node n are start[n] .. start[n + 1]."""
    cdef Py_ssize_t i
    cdef int32_t node, place
    cdef int32_t* edges = copied(numbers)
    memset(start, 0, (nodes + 1) * sizeof(int32_t))
    for i in range(count):
        start[edges[3 * i] + 1] += 1
    for node in range(nodes):
        start[node + 1] += start[node]
    for i in range(count - 1, -1, -1):
        node = edges[3 * i]
        start[node + 1] -= 1
        place = start[node + 1]
        label[place], to[place] = edges[3 * i + 1], edges[3 * i + 2]
    for node in range(nodes):
        start[node] = start[node + 1]
    start[nodes] = <int32_t>count
    free(edges)
    return 0


cdef class Steps:
    """An automaton, and the threads of the step that is being made.

    A thread is a node and what it owes (`thread >> 8`, `thread & 255`). A step leaves the threads, sorted, in `result`, and in
    `won` the lowest route that has matched by now.
    """

    def __dealloc__(self):
        free(self.character_start)
        free(self.character_set)
        free(self.character_to)
        free(self.free_start)
        free(self.free_kind)
        free(self.free_to)
        free(self.first_route)
        free(self.exit_of)
        free(self.set_bits)
        free(self.set_wide)
        free(self.stamps)
        free(self.stack.data)
        free(self.result.data)

    cdef int _take_automaton(self, automaton) except -1:
        """Edges by the node they leave, sets as bits: what a step reads."""
        cdef Py_ssize_t i, route_count = len(automaton.exits)
        cdef int32_t node
        self.node_count = len(automaton)
        self.character_start = <int32_t*>checked_malloc((self.node_count + 1) * sizeof(int32_t))
        self.free_start = <int32_t*>checked_malloc((self.node_count + 1) * sizeof(int32_t))
        cdef Py_ssize_t count = len(automaton.character_edges) // 3
        self.character_set = <int32_t*>checked_malloc(count * sizeof(int32_t))
        self.character_to = <int32_t*>checked_malloc(count * sizeof(int32_t))
        sort_edges(
            automaton.character_edges, count, self.node_count, self.character_start, self.character_set, self.character_to
        )
        count = len(automaton.free_edges) // 3
        self.free_kind = <int32_t*>checked_malloc(count * sizeof(int32_t))
        self.free_to = <int32_t*>checked_malloc(count * sizeof(int32_t))
        sort_edges(automaton.free_edges, count, self.node_count, self.free_start, self.free_kind, self.free_to)
        for i in range(count):
            self.asks_words |= self.free_kind[i] >= A_BOUNDARY
            self.asks_lines |= self.free_kind[i] == A_LINE_START
        self.first_route = copied(automaton.first_route)
        self.exit_of = <int32_t*>checked_malloc(self.node_count * sizeof(int32_t))
        self.stamps = <uint32_t*>checked_malloc(self.node_count * sizeof(uint32_t))
        memset(self.stamps, 0, self.node_count * sizeof(uint32_t))
        for node in range(self.node_count):
            self.exit_of[node] = NO_ROUTE
        for i in range(route_count):
            node = automaton.exits[i]
            if node >= 0 and i < self.exit_of[node]:
                self.exit_of[node] = <int32_t>i
        self.charsets = automaton.charsets
        count = len(self.charsets)
        self.set_bits = <Bits*>checked_malloc(count * sizeof(Bits))
        self.set_wide = <int8_t*>checked_malloc(count)
        for i in range(count):
            self.set_bits[i] = bits_of(self.charsets[i].ascii)
            self.set_wide[i] = wide_code(self.charsets[i].wide)
        self.word_bits = bits_of(word_set(re.UNICODE).ascii)
        return 0

    cdef void _begin_step(self) noexcept:
        self.result.count = 0
        self.stack.count = 0
        self.won = NO_ROUTE
        self.stamp += 1
        if self.stamp == 0:
            memset(self.stamps, 0, self.node_count * sizeof(uint32_t))
            self.stamp = 1

    cdef int _reach(self, uint32_t thread) except -1:
        """Puts a thread on the stack of the step, once."""
        cdef uint32_t node = thread >> 8
        cdef Py_ssize_t i
        if not thread & 255:
            if self.stamps[node] == self.stamp:
                return 0
            self.stamps[node] = self.stamp
        else:
            for i in range(self.stack.count):
                if self.stack.data[i] == thread:
                    return 0
        push(&self.stack, thread)
        return 0

    cdef int _close(self, int32_t previous, const uint8_t* signature) except -1:
        """Follows free edges from all threads on the stack; leaves the state in `result` (sorted) and `won`."""
        cdef Py_ssize_t done = 0
        cdef uint32_t thread, node, owed
        cdef int32_t i, promised
        while done < self.stack.count:
            thread = self.stack.data[done]
            done += 1
            node, owed = thread >> 8, thread & 255
            for i in range(self.free_start[node], self.free_start[node + 1]):
                promised = owed
                if self.free_kind[i] != A_FREE:
                    promised = self._promise(self.free_kind[i], owed, previous, signature)
                if promised >= 0:
                    self._reach(<uint32_t>self.free_to[i] << 8 | <uint32_t>promised)
            if not owed and self.exit_of[node] < self.won:
                self.won = self.exit_of[node]
        for i in range(<int32_t>self.stack.count):
            thread = self.stack.data[i]
            node = thread >> 8
            if self.first_route[node] >= self.won:
                continue
            if self.exit_of[node] != NO_ROUTE or self.character_start[node] != self.character_start[node + 1]:
                push(&self.result, thread)
        if self.result.count > 1:
            qsort(self.result.data, self.result.count, sizeof(uint32_t), compare_words)
        return 0

    cdef int32_t _promise(self, int32_t kind, uint32_t owed, int32_t previous, const uint8_t* signature) noexcept:
        cdef bint after_word, turning
        if kind == A_START:
            return <int32_t>owed if previous == START_OF_TEXT else -1
        if kind == A_LINE_START:
            return <int32_t>owed if previous == START_OF_TEXT or previous == 10 else -1
        if kind == A_END:
            return <int32_t>(owed | OWES_END)
        if kind == A_END_OR_NEWLINE:
            return <int32_t>(owed | OWES_LAST_NEWLINE)
        if kind == A_LINE_END:
            return <int32_t>(owed | OWES_LINE_END)
        turning = kind == A_BOUNDARY or kind == A_ASCII_BOUNDARY
        if kind == A_BOUNDARY or kind == A_NO_BOUNDARY:
            after_word = self._is_word(previous, signature)
            owed |= OWES_NO_WORD if turning == after_word else OWES_WORD
        else:
            after_word = 0 <= previous < 128 and has(self.word_bits.w, previous)
            owed |= OWES_NO_ASCII_WORD if turning == after_word else OWES_ASCII_WORD
        if previous == START_OF_TEXT and (turning or EMPTY_TEXT_HAS_NO_BOUNDARY):
            owed |= OWES_MORE
        return <int32_t>owed

    cdef bint _is_word(self, int32_t c, const uint8_t* signature) noexcept:
        if c < 0:
            return False
        if c < 128:
            return has(self.word_bits.w, c)
        return signature[len(self.charsets)]

    cdef int32_t _pay(self, uint32_t owed, int32_t c, const uint8_t* signature) noexcept:
        """What is owed after this character; -1: the promise is broken."""
        cdef bint word
        if owed & OWES_END or (owed & (OWES_LAST_NEWLINE | OWES_LINE_END) and c != 10):
            return -1
        if owed & (OWES_WORD | OWES_NO_WORD):
            word = self._is_word(c, signature)
            if owed & (OWES_NO_WORD if word else OWES_WORD):
                return -1
        if owed & (OWES_ASCII_WORD | OWES_NO_ASCII_WORD):
            word = 0 <= c < 128 and has(self.word_bits.w, c)
            if owed & (OWES_NO_ASCII_WORD if word else OWES_ASCII_WORD):
                return -1
        return OWES_END if owed & OWES_LAST_NEWLINE else 0

    cdef int _step(self, const uint32_t* threads, Py_ssize_t count, int32_t c, const uint8_t* signature) except -1:
        """One character from these threads: the new state is in `result` and `won`."""
        cdef Py_ssize_t i
        cdef int32_t edge, carried
        cdef uint32_t node, owed
        self._begin_step()
        for i in range(count):
            node, owed = threads[i] >> 8, threads[i] & 255
            carried = 0
            if owed:
                carried = self._pay(owed, c, signature)
                if carried < 0:
                    continue
            if self.exit_of[node] != NO_ROUTE:
                self._reach(node << 8 | <uint32_t>carried)
            for edge in range(self.character_start[node], self.character_start[node + 1]):
                if self._in_set(self.character_set[edge], c, signature):
                    self._reach(<uint32_t>self.character_to[edge] << 8 | <uint32_t>carried)
        self._close(c, signature)
        return 0

    cdef bint _in_set(self, int32_t number, int32_t c, const uint8_t* signature) noexcept:
        if 0 <= c < 128:
            return has(self.set_bits[number].w, c)
        return signature[number]

    cdef int32_t _at_end(self, const uint32_t* threads, Py_ssize_t count) noexcept:
        cdef int32_t best = NO_ROUTE
        cdef Py_ssize_t i
        for i in range(count):
            if not threads[i] & NOT_AT_END and self.exit_of[threads[i] >> 8] < best:
                best = self.exit_of[threads[i] >> 8]
        return best
