# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, embedsignature=True
"""Dispatch by one automaton for the whole table: what `fastcore.pure.matcher` defines, in time linear in the path.

`match` runs in two steps. The *walk* goes once over the path and ends with the winning route; its states are built from the
automaton (`fastcore.routing.automaton`) when a path first needs them, up to a cap, beyond which a path is simulated without
keeping states. Then the winner's *program* (`fastcore.routing.captures`) finds where its parameters lie. Routes that
have no automaton are tried by `re`, in their place in the order.

A state is a block of 32-bit words in the arena:

    0 the lowest route that has matched here      1 the lowest route that matches if the text ends here
    2 kind | count << 8                           3 where characters beyond ASCII lead
    4 the state's number
    5.. by kind: RUN   where it leads, then `count` bytes of text that must follow
                FEW    `count` times: 4 words of ASCII bitmap, where they lead (the first stays in a LOOP)
                TABLE  the first character, then for `count` characters from there where each leads

"Where it leads" is another block's place, NOWHERE, BY_CLASS (see `_wide`), or the number of a state that has no block yet.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy, memset

from fastcore.routing import automaton as nfa
from fastcore.routing import captures, reverse, simulation
from fastcore.routing.charsets import word_set

import re


cdef extern from "Python.h":
    int PyUnicode_KIND(PyObject* text)
    void* PyUnicode_DATA(PyObject* text)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject* text)
    object PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t end)
    int PyDict_SetItem(object mapping, PyObject* key, object value) except -1
    PyObject* PyDict_GetItem(object mapping, object key)
    bint PyUnicode_CheckExact(PyObject* value)
    bint PyLong_CheckExact(PyObject* value)
    bint PyUnicode_IS_ASCII(PyObject* text)
    long PyLong_AsLongAndOverflow(PyObject* number, int* overflow)
    PyObject* PyTuple_GET_ITEM(object items, Py_ssize_t place)
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    int __builtin_ctz(unsigned int bits) nogil
    int __builtin_clz(unsigned int bits) nogil


ctypedef fused Character:
    uint8_t
    uint16_t
    uint32_t


cdef enum:
    NO_ROUTE = 1 << 30

    FINAL = 0
    RUN = 1
    FEW = 2
    LOOP = 3
    TABLE = 4

    NOWHERE = -1
    BY_CLASS = -2
    FULL = -3
    FIRST_UNBUILT = -4

    HEADER = 5
    GROUP = 5
    MAX_RUN = 250
    MAX_PAYLOAD = 160
    MAX_FEW = 3

    OWES_END = 1
    OWES_LAST_NEWLINE = 2
    OWES_LINE_END = 4
    OWES_WORD = 8
    OWES_NO_WORD = 16
    OWES_ASCII_WORD = 32
    OWES_NO_ASCII_WORD = 64
    OWES_MORE = 128
    OWES_ANY_WORD = 8 + 16 + 32 + 64
    NOT_AT_END = 8 + 32 + 128

    START_OF_TEXT = -1
    SOME_WIDE = -2

    A_FREE = 0
    A_START = 1
    A_LINE_START = 2
    A_END = 3
    A_END_OR_NEWLINE = 4
    A_LINE_END = 5
    A_BOUNDARY = 6
    A_NO_BOUNDARY = 7
    A_ASCII_BOUNDARY = 8
    A_ASCII_NO_BOUNDARY = 9

    OP_ACCEPT = 0
    OP_SKIP = 1
    OP_SPAN = 2
    OP_SET = 3
    OP_SAVE = 4
    OP_SPLIT = 5
    OP_JUMP = 6
    OP_ASSERT = 7

    PREFERRED_AT_END = 1
    OTHER_AT_END = 2
    PREFERRED_ALWAYS = 4
    OTHER_ALWAYS = 8

    MAX_SLOTS = 200
    MAX_PLAIN = 8
    MAX_DIGITS = 12
    MAX_WIDE_CACHE = 8192
    SIMULATED_BEFORE_FLUSH = 1000


cdef bint EMPTY_TEXT_HAS_NO_BOUNDARY = simulation.EMPTY_TEXT_HAS_NO_BOUNDARY


cdef struct Bits:
    uint32_t w[4]


cdef struct Words:
    uint32_t* data
    Py_ssize_t count
    Py_ssize_t room


cdef struct Program:      # its words follow it in memory
    int32_t* words
    PyObject* names        # the parameters, kept alive by the matcher's `written`
    int32_t slots
    int32_t splits
    bint decided
    bint by_re


cdef struct Choice:
    Py_ssize_t place      # of the text, or the slot's former value
    int32_t code          # where the program goes on, or -1 - slot to be restored


cdef inline int push(Words* words, uint32_t value) except -1:
    cdef uint32_t* grown
    cdef Py_ssize_t room
    if words.count == words.room:
        room = words.room * 2 if words.room else 64
        grown = <uint32_t*>realloc(words.data, room * sizeof(uint32_t))
        if grown == NULL:
            raise MemoryError()
        words.data, words.room = grown, room
    words.data[words.count] = value
    words.count += 1
    return 0


cdef inline bint has(const uint32_t* bits, uint32_t c) noexcept:
    return (bits[c >> 5] >> (c & 31)) & 1


cdef int compare_words(const void* one, const void* other) noexcept nogil:
    cdef uint32_t a = (<const uint32_t*>one)[0]
    cdef uint32_t b = (<const uint32_t*>other)[0]
    return (a > b) - (a < b)


cdef void* checked_malloc(size_t size) except NULL:
    cdef void* memory = malloc(size if size else 1)
    if memory == NULL:
        raise MemoryError()
    return memory


cdef Bits bits_of(object number):
    cdef Bits bits
    cdef int i
    for i in range(4):
        bits.w[i] = <uint32_t>((number >> (32 * i)) & 0xFFFFFFFF)
    return bits


cdef inline int32_t unbuilt(int32_t number) noexcept:
    return NOWHERE if number == NOWHERE else FIRST_UNBUILT - number


cdef inline int lowest(const Bits* bits) noexcept:
    cdef int k
    for k in range(4):
        if bits.w[k]:
            return 32 * k + __builtin_ctz(bits.w[k])
    return 128


cdef inline int highest(const Bits* bits) noexcept:
    cdef int k
    for k in range(3, -1, -1):
        if bits.w[k]:
            return 32 * k + 31 - __builtin_clz(bits.w[k])
    return -1


cdef inline bint single(const Bits* bits) noexcept:
    cdef int c = lowest(bits)
    return c < 128 and c == highest(bits)


cdef int8_t wide_code(object wide) except -1:
    return 2 if wide is None else 1 if wide else 0


cdef dict present_groups(object found):
    return {name: text for name, text in found.groupdict().items() if text is not None}


cdef int sort_edges(
    int32_t[::1] edges, Py_ssize_t count, int32_t nodes, int32_t* start, int32_t* label, int32_t* to
) except -1:
    """Edges (from, label, to) by the node they leave: those of node n are start[n] .. start[n + 1]."""
    cdef Py_ssize_t i
    cdef int32_t node, place
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
    return 0


cdef struct Groups:
    Bits bits[130]
    int32_t to[130]
    int count


cdef void split_groups(Groups* groups, const Bits* bits) noexcept:
    """Refines disjoint groups so that each lies within `bits` or outside of it; what is in no group yet becomes one."""
    cdef Bits rest = bits[0]
    cdef Bits both
    cdef int i, k, count = groups.count
    cdef uint32_t inside, outside
    for i in range(count):
        inside = outside = 0
        for k in range(4):
            both.w[k] = groups.bits[i].w[k] & bits.w[k]
            rest.w[k] &= ~both.w[k]
            inside |= both.w[k]
            outside |= groups.bits[i].w[k] & ~bits.w[k]
        if inside and outside:
            for k in range(4):
                groups.bits[i].w[k] &= ~both.w[k]
            groups.bits[groups.count] = both
            groups.count += 1
    if rest.w[0] | rest.w[1] | rest.w[2] | rest.w[3]:
        groups.bits[groups.count] = rest
        groups.count += 1


cdef void merge_groups(Groups* groups) noexcept:
    """Groups that lead to the same place become one; those that lead nowhere are dropped."""
    cdef int i, j, k, kept = 0
    for i in range(groups.count):
        if groups.to[i] == NOWHERE:
            continue
        for j in range(kept):
            if groups.to[j] == groups.to[i]:
                for k in range(4):
                    groups.bits[j].w[k] |= groups.bits[i].w[k]
                break
        else:
            groups.bits[kept], groups.to[kept] = groups.bits[i], groups.to[i]
            kept += 1
    groups.count = kept


cdef class Matcher:
    """Routes in their order, as one automaton. The same names as `fastcore.pure.matcher.Matcher`.

    `max_states` caps the states that are kept (by default in proportion to the automaton).
    """

    cdef readonly tuple routes
    cdef list targets
    cdef Py_ssize_t route_count
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
    # states
    cdef int32_t* arena
    cdef Py_ssize_t arena_count
    cdef Py_ssize_t arena_room
    cdef dict numbers           # threads and winner as bytes -> number of the state
    cdef list keys              # number -> the same bytes
    cdef Words places           # number -> place of its block, NOWHERE while it has none
    cdef int32_t root           # place of the first state's block, FULL where the cap leaves no room for it
    cdef bytes start
    cdef readonly Py_ssize_t max_states
    cdef Py_ssize_t simulated
    cdef int walking
    # characters beyond ASCII: those in the same sets are of one class
    cdef dict classes           # codepoint -> signature
    cdef dict signatures        # signature -> (class, signature): one object for each
    cdef dict wide_targets      # (state, class) -> number of the state
    cdef bytes uniform
    # scratch of one step
    cdef Words stack
    cdef Words result
    cdef uint32_t* stamps
    cdef uint32_t stamp
    cdef int32_t won
    # captures
    cdef Program** programs     # by route; NULL until it first wins. Routes with equal programs share one
    cdef dict written           # what makes programs equal -> the address of the one
    cdef list capture_sets
    cdef dict capture_numbers
    cdef dict captured          # set << 21 | codepoint -> whether it is in it
    cdef Bits* capture_bits
    cdef int8_t* capture_wide
    cdef Py_ssize_t capture_room
    # routes without an automaton: (index, literal prefix, attempt)
    cdef list irregular
    cdef int32_t first_irregular

    def __cinit__(self):
        self.numbers, self.keys, self.classes, self.signatures, self.wide_targets = {}, [], {}, {}, {}
        self.capture_sets, self.capture_numbers, self.captured, self.irregular = [], {}, {}, []
        self.written = {}
        self.first_irregular = NO_ROUTE

    def __init__(self, routes, Py_ssize_t max_states=0):
        self.routes = tuple(routes)
        self.route_count = len(self.routes)
        self.targets = [route.target for route in self.routes]
        automaton = nfa.Automaton(self.routes)
        self._take_automaton(automaton)
        self._take_irregular(automaton.irregular)
        self.programs = <Program**>checked_malloc(self.route_count * sizeof(Program*))
        memset(self.programs, 0, self.route_count * sizeof(Program*))
        self.max_states = max_states or 10_000 + self.node_count
        self._start()

    def __dealloc__(self):
        for address in (self.written or {}).values():
            free(<void*><size_t>address)
        for memory in (<size_t>self.programs, <size_t>self.character_start, <size_t>self.character_set,
                       <size_t>self.character_to, <size_t>self.free_start, <size_t>self.free_kind, <size_t>self.free_to,
                       <size_t>self.first_route, <size_t>self.exit_of, <size_t>self.set_bits, <size_t>self.set_wide,
                       <size_t>self.arena, <size_t>self.stack.data, <size_t>self.result.data, <size_t>self.stamps,
                       <size_t>self.capture_bits, <size_t>self.capture_wide, <size_t>self.places.data):
            free(<void*><size_t>memory)

    # -- the automaton as arrays --------------------------------------------------------------------------------------

    cdef int _take_automaton(self, automaton) except -1:
        cdef Py_ssize_t i
        cdef int32_t node
        self.node_count = len(automaton)
        self.character_start = <int32_t*>checked_malloc((self.node_count + 1) * sizeof(int32_t))
        self.free_start = <int32_t*>checked_malloc((self.node_count + 1) * sizeof(int32_t))
        cdef int32_t[::1] edges = automaton.character_edges if automaton.character_edges else None
        cdef Py_ssize_t count = len(automaton.character_edges) // 3
        self.character_set = <int32_t*>checked_malloc(count * sizeof(int32_t))
        self.character_to = <int32_t*>checked_malloc(count * sizeof(int32_t))
        sort_edges(edges, count, self.node_count, self.character_start, self.character_set, self.character_to)
        edges = automaton.free_edges if automaton.free_edges else None
        count = len(automaton.free_edges) // 3
        self.free_kind = <int32_t*>checked_malloc(count * sizeof(int32_t))
        self.free_to = <int32_t*>checked_malloc(count * sizeof(int32_t))
        sort_edges(edges, count, self.node_count, self.free_start, self.free_kind, self.free_to)
        for i in range(count):
            self.asks_words |= self.free_kind[i] >= A_BOUNDARY
            self.asks_lines |= self.free_kind[i] == A_LINE_START
        self.first_route = <int32_t*>checked_malloc(self.node_count * sizeof(int32_t))
        self.exit_of = <int32_t*>checked_malloc(self.node_count * sizeof(int32_t))
        self.stamps = <uint32_t*>checked_malloc(self.node_count * sizeof(uint32_t))
        memset(self.stamps, 0, self.node_count * sizeof(uint32_t))
        cdef int32_t[::1] first_route = automaton.first_route
        for node in range(self.node_count):
            self.first_route[node] = first_route[node]
            self.exit_of[node] = NO_ROUTE
        for i in range(self.route_count):
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
        self.uniform = bytes([self.set_wide[i] == 1 for i in range(count)] + [0])
        return 0

    cdef int _take_irregular(self, reasons) except -1:
        for index in sorted(reasons):
            route = self.routes[index]
            self.irregular.append((index, captures.literal_prefix(route), route.compiled.match))
        if self.irregular:
            self.first_irregular = self.irregular[0][0]
        return 0

    # -- states -------------------------------------------------------------------------------------------------------

    cdef int _start(self) except -1:
        """Forgets all states but the one before the first character."""
        self.numbers.clear()
        self.keys.clear()
        self.wide_targets.clear()
        self.places.count = 0
        self.arena_count = 0
        self.simulated = 0
        self._begin_step()
        self._reach(0)
        self._close(START_OF_TEXT, NULL)
        push(&self.result, <uint32_t>self.won)
        self.start = PyBytes_FromStringAndSize(<char*>self.result.data, self.result.count * sizeof(uint32_t))
        self.numbers[self.start] = 0
        self.keys.append(self.start)
        push(&self.places, <uint32_t>NOWHERE)
        self.root = self._build(0)
        return 0

    cdef inline void _begin_step(self) noexcept:
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

    cdef inline bint _is_word(self, int32_t c, const uint8_t* signature) noexcept:
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

    cdef inline bint _in_set(self, int32_t number, int32_t c, const uint8_t* signature) noexcept:
        if 0 <= c < 128:
            return has(self.set_bits[number].w, c)
        return signature[number]

    cdef int32_t _intern(self) except? -9:
        """The number of the state in `result` and `won`; NOWHERE for the dead one, FULL when there is no room."""
        if self.result.count == 0 and self.won == NO_ROUTE:
            return NOWHERE
        push(&self.result, <uint32_t>self.won)
        cdef bytes key = PyBytes_FromStringAndSize(<char*>self.result.data, self.result.count * sizeof(uint32_t))
        self.result.count -= 1
        known = self.numbers.get(key)
        if known is not None:
            return known
        cdef Py_ssize_t number = len(self.keys)
        if number >= self.max_states:
            return FULL
        self.numbers[key] = number
        self.keys.append(key)
        push(&self.places, <uint32_t>NOWHERE)
        return <int32_t>number

    cdef int32_t _at_end(self, const uint32_t* threads, Py_ssize_t count) noexcept:
        cdef int32_t best = NO_ROUTE
        cdef Py_ssize_t i
        for i in range(count):
            if not threads[i] & NOT_AT_END and self.exit_of[threads[i] >> 8] < best:
                best = self.exit_of[threads[i] >> 8]
        return best

    cdef int _grow_arena(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = self.arena_room
        cdef int32_t* grown
        if self.arena_count + more <= room:
            return 0
        room = room * 2 + more + 1024
        grown = <int32_t*>realloc(self.arena, room * sizeof(int32_t))
        if grown == NULL:
            raise MemoryError()
        self.arena, self.arena_room = grown, room
        return 0

    cdef int32_t _build(self, int32_t number) except? -9:
        """The place of the state's block, which is written if it has none yet; FULL when there is no room."""
        cdef int32_t place = <int32_t>self.places.data[number]
        if place != NOWHERE:
            return place
        cdef bytes key = self.keys[number]
        cdef const uint32_t* threads = <const uint32_t*>PyBytes_AS_STRING(key)
        cdef Py_ssize_t count = PyBytes_GET_SIZE(key) // sizeof(uint32_t) - 1
        cdef Groups groups
        cdef int32_t wide = self._wide_of(threads, count)
        if wide == FULL:
            return FULL
        groups.count = 0
        if self._only_character(threads, count) < 0 and self._gather(&groups, threads, count) == FULL:
            return FULL
        self._grow_arena(HEADER + MAX_PAYLOAD)
        place = <int32_t>self.arena_count
        self.arena[place] = <int32_t>threads[count]
        self.arena[place + 1] = self._at_end(threads, count)
        self.arena[place + 3] = wide
        self.arena[place + 4] = number
        if self._only_character(threads, count) >= 0:
            count = self._write_run(place, threads[0])
        else:
            count = self._write_groups(self.arena + place, &groups, number)
        if count == FULL:
            return FULL
        self.arena_count += HEADER + count
        self.places.data[number] = <uint32_t>place
        return place

    cdef int32_t _wide_of(self, const uint32_t* threads, Py_ssize_t count) except? -9:
        """Where characters beyond ASCII lead: one state for all of them, NOWHERE, or BY_CLASS."""
        cdef Py_ssize_t i
        cdef int32_t edge
        cdef uint32_t node
        cdef bint any_wide = False
        for i in range(count):
            node = threads[i] >> 8
            if self.asks_words:
                return BY_CLASS
            for edge in range(self.character_start[node], self.character_start[node + 1]):
                if self.set_wide[self.character_set[edge]] == 2:
                    return BY_CLASS
                any_wide |= self.set_wide[self.character_set[edge]] == 1
        if not any_wide:
            return NOWHERE
        self._step(threads, count, SOME_WIDE, <const uint8_t*>PyBytes_AS_STRING(self.uniform))
        edge = self._intern()
        return FULL if edge == FULL else unbuilt(edge)

    cdef int32_t _gather(self, Groups* groups, const uint32_t* threads, Py_ssize_t count) except? -9:
        """Sorts the ASCII characters into groups that lead to the same state; FULL when there is no room."""
        cdef Py_ssize_t i
        cdef int32_t edge
        cdef uint32_t node
        cdef int group
        cdef bint owing = False
        cdef Bits bits
        for i in range(count):
            node = threads[i] >> 8
            owing |= (threads[i] & 255) != 0
            for edge in range(self.character_start[node], self.character_start[node + 1]):
                split_groups(groups, &self.set_bits[self.character_set[edge]])
        if owing or self.asks_lines:
            memset(&bits, 0, sizeof(Bits))
            bits.w[0] = 1 << 10
            split_groups(groups, &bits)
        if self.asks_words:
            memset(&bits, 255, sizeof(Bits))
            split_groups(groups, &self.word_bits)
            split_groups(groups, &bits)
        for group in range(groups.count):
            self._step(threads, count, lowest(&groups.bits[group]), NULL)
            groups.to[group] = self._intern()
            if groups.to[group] == FULL:
                return FULL
        merge_groups(groups)
        return 0

    cdef int32_t _write_groups(self, int32_t* block, Groups* groups, int32_t number) except? -9:
        """Writes the kind and what belongs to it; returns the payload's words."""
        cdef int count = groups.count
        cdef int i, first = 128, last = -1, c
        cdef bint loops = False
        if count == 0 and block[1] == NO_ROUTE and block[3] == NOWHERE:
            block[2] = FINAL
            return 0
        for i in range(count):
            first, last = min(first, lowest(&groups.bits[i])), max(last, highest(&groups.bits[i]))
            if groups.to[i] == number:
                groups.bits[0], groups.bits[i] = groups.bits[i], groups.bits[0]
                groups.to[0], groups.to[i] = groups.to[i], groups.to[0]
                loops = True
        if count <= MAX_FEW:
            block[2] = (LOOP if loops else FEW) | count << 8
            for i in range(count):
                memcpy(block + HEADER + GROUP * i, &groups.bits[i], sizeof(Bits))
                block[HEADER + GROUP * i + 4] = unbuilt(groups.to[i])
            return GROUP * count
        block[2] = TABLE | (last - first + 1) << 8
        block[HEADER] = first
        for c in range(first, last + 1):
            block[HEADER + 1 + c - first] = NOWHERE
            for i in range(count):
                if has(groups.bits[i].w, c):
                    block[HEADER + 1 + c - first] = unbuilt(groups.to[i])
        return 1 + last - first + 1

    cdef int32_t _write_run(self, int32_t place, uint32_t thread) except? -9:
        """A chain of states that each go on with one character only becomes one block; returns the payload's words."""
        cdef uint8_t* text = <uint8_t*>(self.arena + place + HEADER + 1)
        cdef int32_t length = 0, number
        cdef int c
        cdef uint32_t state[2]
        state[0], state[1] = thread, NO_ROUTE
        while True:
            c = self._only_character(state, 1)
            text[length] = c
            length += 1
            self._step(state, 1, c, NULL)
            if length == MAX_RUN or self.result.count != 1 or self.won != NO_ROUTE:
                break
            state[0] = self.result.data[0]
            if self._only_character(state, 1) < 0:
                break
        number = self._intern()
        if number == FULL:
            return FULL
        self.arena[place + 2] = RUN | length << 8
        self.arena[place + HEADER] = unbuilt(number)
        return 1 + (length + 3) // 4

    cdef int _only_character(self, const uint32_t* threads, Py_ssize_t count) noexcept:
        """The one character with which this state goes on, -1 where it is not so simple (`threads` ends with the winner)."""
        cdef uint32_t node
        cdef int32_t edge
        if count != 1 or <int32_t>threads[1] != NO_ROUTE or threads[0] & 255 or self.asks_words:
            return -1
        node = threads[0] >> 8
        edge = self.character_start[node]
        if self.character_start[node + 1] != edge + 1 or self.exit_of[node] != NO_ROUTE:
            return -1
        if self.set_wide[self.character_set[edge]] != 0 or not single(&self.set_bits[self.character_set[edge]]):
            return -1
        return lowest(&self.set_bits[self.character_set[edge]])

    # -- characters beyond ASCII --------------------------------------------------------------------------------------

    cdef tuple _classify(self, int32_t codepoint):
        """(class, signature) of a character beyond ASCII; the signature tells for each set whether it is in it."""
        known = self.classes.get(codepoint)
        if known is not None:
            return known
        cdef bytes signature = bytes([codepoint in chars for chars in self.charsets] + [codepoint in word_set(re.UNICODE)])
        entry = self.signatures.get(signature)
        if entry is None:
            entry = self.signatures[signature] = (len(self.signatures), signature)
        if len(self.classes) >= MAX_WIDE_CACHE:
            self.classes.clear()
        self.classes[codepoint] = entry
        return entry

    cdef int32_t _wide(self, int32_t place, int32_t codepoint) except? -9:
        """Where a character beyond ASCII leads from the block at `place`: a place, NOWHERE or FULL."""
        cdef tuple entry = self._classify(codepoint)
        cdef object known = self.wide_targets.get((place, entry[0]))
        cdef int32_t number
        cdef bytes key
        if known is None:
            key = self.keys[self.arena[place + 4]]
            self._step(
                <const uint32_t*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key) // sizeof(uint32_t) - 1,
                codepoint, <const uint8_t*>PyBytes_AS_STRING(<bytes>entry[1]),
            )
            number = self._intern()
            if number == FULL:
                return FULL
            self.wide_targets[place, entry[0]] = number
        else:
            number = known
        return NOWHERE if number == NOWHERE else self._build(number)

    # -- the walk -----------------------------------------------------------------------------------------------------

    cdef int32_t _walk(self, const Character* text, Py_ssize_t length) except? -9:
        """The index of the winner among the routes of the automaton; NO_ROUTE where none matches."""
        cdef const int32_t* arena = self.arena
        cdef const int32_t* block
        cdef const uint8_t* run
        cdef int32_t place = self.root, best = NO_ROUTE, count, target, kind, i
        cdef Py_ssize_t at = 0, slot
        cdef uint32_t c
        if place == FULL:
            return self._simulate[Character](self.start, text, length, best)
        while True:
            block = arena + place
            if block[0] < best:
                best = block[0]
            kind = block[2] & 255
            count = block[2] >> 8
            if kind == RUN:
                if length - at < count:
                    if at == length and block[1] < best:
                        best = block[1]
                    return best
                run = <const uint8_t*>(block + HEADER + 1)
                if Character is uint8_t:
                    if memcmp(text + at, run, count) != 0:
                        return best
                else:
                    for i in range(count):
                        if text[at + i] != run[i]:
                            return best
                at += count
                slot = place + HEADER
                target = block[HEADER]
            elif kind == FINAL:
                return best
            else:
                if kind == LOOP:
                    while at < length and text[at] < 128 and has(<const uint32_t*>(block + HEADER), text[at]):
                        at += 1
                if at == length:
                    return block[1] if block[1] < best else best
                c = text[at]
                if c >= 128:
                    slot = place + 3
                    target = block[3]
                    if target == BY_CLASS:
                        target = self._wide(place, c)
                        arena = self.arena
                        if target == FULL:
                            return self._simulate[Character](self.keys[arena[place + 4]], text + at, length - at, best)
                elif kind == TABLE:
                    i = <int32_t>c - block[HEADER]
                    if i < 0 or i >= count:
                        return best
                    slot = place + HEADER + 1 + i
                    target = arena[slot]
                else:
                    slot = place + HEADER
                    for i in range(count):
                        if has(<const uint32_t*>(arena + slot), c):
                            break
                        slot += GROUP
                    else:
                        return best
                    slot += 4
                    target = arena[slot]
                at += 1
            if target < 0:
                if target == NOWHERE:
                    return best
                count = FIRST_UNBUILT - target
                target = self._build(count)
                arena = self.arena
                if target == FULL:
                    return self._simulate[Character](self.keys[count], text + at, length - at, best)
                self.arena[slot] = target
            place = target

    cdef int32_t _simulate(self, bytes key, const Character* text, Py_ssize_t length, int32_t best) except? -9:
        """The rest of a walk without keeping states, from the state with these threads."""
        cdef Words threads, swapped
        cdef Py_ssize_t at
        cdef int32_t c, at_end
        cdef tuple entry
        memset(&threads, 0, sizeof(Words))
        self.simulated += 1
        try:
            for at in range(PyBytes_GET_SIZE(key) // sizeof(uint32_t) - 1):
                push(&threads, (<const uint32_t*>PyBytes_AS_STRING(key))[at])
            best = min(best, <int32_t>(<const uint32_t*>PyBytes_AS_STRING(key))[threads.count])
            for at in range(length):
                if threads.count == 0:
                    return best
                c = text[at]
                entry = self._classify(c) if c >= 128 else None
                self._step(
                    threads.data, threads.count, c,
                    <const uint8_t*>PyBytes_AS_STRING(<bytes>entry[1]) if entry is not None else NULL,
                )
                best = min(best, self.won)
                swapped = threads
                threads = self.result
                self.result = swapped
            at_end = self._at_end(threads.data, threads.count)
            return min(best, at_end)
        finally:
            free(threads.data)

    cdef int32_t _winner(self, str path) except? -9:
        cdef int kind = PyUnicode_KIND(<PyObject*>path)
        cdef Py_ssize_t length = PyUnicode_GET_LENGTH(<PyObject*>path)
        if self.simulated >= SIMULATED_BEFORE_FLUSH and self.walking == 0:
            self._start()
        self.walking += 1
        try:
            if kind == 1:
                return self._walk[uint8_t](<const uint8_t*>PyUnicode_DATA(<PyObject*>path), length)
            if kind == 2:
                return self._walk[uint16_t](<const uint16_t*>PyUnicode_DATA(<PyObject*>path), length)
            return self._walk[uint32_t](<const uint32_t*>PyUnicode_DATA(<PyObject*>path), length)
        finally:
            self.walking -= 1

    # -- captures -----------------------------------------------------------------------------------------------------

    cdef Program* _program(self, Py_ssize_t index) except NULL:
        """The route's program, written when the route first wins."""
        if self.programs[index] != NULL:
            return self.programs[index]
        cdef tuple names = tuple(self.routes[index].groups)
        cdef bint by_re = 2 * len(names) > MAX_SLOTS
        cdef list words = []
        splits, decided = 0, True
        if names and not by_re:
            try:
                program = captures.write_program(self.routes[index])
                words = captures.renumber_sets(program.words, [self._capture_number(chars) for chars in program.sets])
                splits, decided = program.splits, program.decided
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

    cdef inline bint _captures(self, int32_t number, uint32_t c) except -1:
        if c < 128:
            return has(self.capture_bits[number].w, c)
        if self.capture_wide[number] != 2:
            return self.capture_wide[number]
        return self._captures_mixed(number, c)

    cdef bint _captures_mixed(self, int32_t number, uint32_t c) except -1:
        """Some characters beyond ASCII are in the set and some are not: the set is asked once for each."""
        key = <int64_t>number << 21 | c
        known = self.captured.get(key)
        if known is None:
            if len(self.captured) >= MAX_WIDE_CACHE:
                self.captured.clear()
            known = self.captured[key] = c in self.capture_sets[number]
        return known

    cdef bint _run(self, Program* program, const Character* text, Py_ssize_t length, Py_ssize_t* slots) except -1:
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
                while at < length and self._captures(number, text[at]):
                    at += 1
                code += 2
            elif code[0] == OP_SPLIT:
                if at == length:
                    number = 1 if code[5] & PREFERRED_AT_END else 2
                elif at > length:
                    return False
                else:
                    number = 1 if self._captures(code[3], text[at]) else 2
                code = program.words + code[number]
            elif code[0] == OP_JUMP:
                code = program.words + code[1]
            else:
                return at <= length
        return self._backtrack[Character](program, text, length, slots)

    cdef bint _backtrack(self, Program* program, const Character* text, Py_ssize_t length, Py_ssize_t* slots) except -1:
        """The same with choices: tried in order, and none twice at the same place."""
        cdef const int32_t* code = program.words
        cdef Py_ssize_t at = 0, depth = 0, room = 0, seen
        cdef Choice* choices = NULL
        cdef Choice* grown
        cdef uint8_t* tried = <uint8_t*>checked_malloc((program.splits * (length + 1) + 7) >> 3)
        cdef bint first, second, failed
        memset(tried, 0, (program.splits * (length + 1) + 7) >> 3)
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
                    if at < length and self._captures(code[1], text[at]):
                        at += 1
                        code += 2
                    else:
                        failed = True
                elif code[0] == OP_SPAN:
                    while at < length and self._captures(code[1], text[at]):
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
                        first = code[5] & PREFERRED_ALWAYS or self._captures(code[3], text[at])
                        second = code[5] & OTHER_ALWAYS or self._captures(code[4], text[at])
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
                    failed = not self._holds[Character](code[1], text, length, at)
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

    cdef bint _holds(self, int32_t kind, const Character* text, Py_ssize_t length, Py_ssize_t at) except -1:
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

    cdef bint _word_character(self, int32_t kind, uint32_t c) except -1:
        if c < 128:
            return has(self.word_bits.w, c)
        if kind == A_ASCII_BOUNDARY or kind == A_ASCII_NO_BOUNDARY:
            return False
        return c in word_set(re.UNICODE)

    cdef dict _parameters(self, str path, Py_ssize_t index):
        """The parameters of the winning route."""
        cdef dict parameters = {}
        cdef Program* program = self._program(index)
        if program.slots == 0:
            return parameters
        cdef Py_ssize_t slots[MAX_SLOTS]
        cdef Py_ssize_t i, length = PyUnicode_GET_LENGTH(<PyObject*>path)
        cdef int kind = PyUnicode_KIND(<PyObject*>path)
        cdef bint found = False
        if not program.by_re:
            for i in range(program.slots):
                slots[i] = -1
            if kind == 1:
                found = self._run[uint8_t](program, <const uint8_t*>PyUnicode_DATA(<PyObject*>path), length, slots)
            elif kind == 2:
                found = self._run[uint16_t](program, <const uint16_t*>PyUnicode_DATA(<PyObject*>path), length, slots)
            else:
                found = self._run[uint32_t](program, <const uint32_t*>PyUnicode_DATA(<PyObject*>path), length, slots)
        if not found:
            return present_groups(self.routes[index].compiled.match(path))
        for i in range(program.slots >> 1):
            if slots[2 * i + 1] >= 0:
                PyDict_SetItem(
                    parameters,
                    PyTuple_GET_ITEM(<object>program.names, i),
                    PyUnicode_Substring(path, slots[2 * i], slots[2 * i + 1]),
                )
        return parameters

    # -- what the router asks -----------------------------------------------------------------------------------------

    def find(self, str path not None):
        """The index of the first route that matches and its parameters; groups that took no part are left out."""
        cdef int32_t best = self._winner(path)
        if self.first_irregular < best:
            for index, prefix, attempt in self.irregular:
                if index > best:
                    break
                if path.startswith(prefix):
                    found = attempt(path)
                    if found is not None:
                        return index, present_groups(found)
        if best == NO_ROUTE:
            return None
        return best, self._parameters(path, best)

    def match(self, str path not None):
        """As `find`, with the target: ``matcher.match("/user/7/") == (show_user, {"id": "7"})``."""
        if self.first_irregular != NO_ROUTE:
            found = self.find(path)
            return None if found is None else (self.targets[found[0]], found[1])
        cdef int32_t best = self._winner(path)
        if best == NO_ROUTE:
            return None
        return self.targets[best], self._parameters(path, best)

    def statistics(self):
        """What the matcher holds now: nodes of the automaton, states, bytes of their blocks, simulated paths."""
        return {
            "nodes": self.node_count,
            "states": len(self.keys),
            "state_bytes": self.arena_count * sizeof(int32_t),
            "simulated": self.simulated,
        }


# -- the way back -----------------------------------------------------------------------------------------------------


cdef uint8_t SAFE[128]
for _place in range(128):
    SAFE[_place] = chr(_place) in reverse.SAFE_IN_PATH


cdef int write_digits(PyObject* number, uint8_t* digits) noexcept:
    """A small int that is not negative as `str` writes it; returns how many digits, 0 where it is not such a one."""
    cdef int overflow = 0, size = 0, i
    cdef long rest = PyLong_AsLongAndOverflow(number, &overflow)
    cdef uint8_t reversed_digits[MAX_DIGITS]
    if overflow or rest < 0 or rest > 999_999_999_999:
        return 0
    while True:
        reversed_digits[size] = <uint8_t>(48 + rest % 10)
        size += 1
        rest = rest // 10
        if rest == 0:
            break
    for i in range(size):
        digits[i] = reversed_digits[size - 1 - i]
    return size


cdef class UrlPlan:
    """A template made ready: `texts[0] value texts[1] value … texts[n]`, for the parameters `names` in this order."""

    cdef int32_t index
    cdef int count
    cdef Py_ssize_t text_length
    cdef tuple names
    cdef tuple texts
    cdef tuple slots        # for each parameter the slot in which the route's program saves where it begins
    cdef tuple takes_int    # whether an int is written as `str` writes it

    def __init__(self, index, names, texts, slots, takes_int):
        self.index, self.names, self.texts, self.slots, self.takes_int = index, names, texts, slots, takes_int
        self.count = len(names)
        self.text_length = sum([len(text) for text in texts])


cdef class UrlBuilder:
    """`url` for what is plain: text and int parameters in ASCII that need no encoding. All else goes to `slowly`.

    `slowly(target_or_name, parameters)` gives the URL or raises; `learn(target_or_name, names)` gives a UrlPlan's arguments, or
    None where these parameters are not plain. A result is returned only if the automaton dispatches it to the plan's
    route and the route's program finds each value where it was put.
    """

    cdef Matcher matcher
    cdef object slowly
    cdef object learn
    cdef dict plans

    def __init__(self, Matcher matcher not None, slowly, learn):
        self.matcher, self.slowly, self.learn, self.plans = matcher, slowly, learn, {}

    def url(self, target_or_name, /, **parameters):
        """The percent-encoded path that leads to this target or route: see `fastcore.routing.Router.url`."""
        cdef UrlPlan plan
        cdef bint known = False
        try:
            plans = self.plans.get(target_or_name)
        except TypeError:
            return self.slowly(target_or_name, parameters)
        if plans is not None:
            for plan in <list>plans:
                if plan.count == len(parameters):
                    path = self._fill(plan, parameters)
                    if path is not None:
                        return path
        path = self.slowly(target_or_name, parameters)
        names = frozenset(parameters)
        if plans is None:
            plans = self.plans[target_or_name] = []
        for plan in <list>plans:
            known |= frozenset(plan.names) == names
        if not known:
            learned = self.learn(target_or_name, names)
            if learned is not None:
                plans.append(UrlPlan(*learned))
        return path

    cdef object _fill(self, UrlPlan plan, dict parameters):
        """The path; None where it is not plain or not right."""
        cdef const uint8_t* values[MAX_PLAIN]
        cdef Py_ssize_t sizes[MAX_PLAIN]
        cdef Py_ssize_t begins[MAX_PLAIN]
        cdef Py_ssize_t ends[MAX_PLAIN]
        cdef uint8_t digits[MAX_PLAIN * MAX_DIGITS]
        cdef Py_ssize_t length = plan.text_length, at = 0, i, k, size
        cdef PyObject* found
        cdef uint8_t* data
        for i in range(plan.count):
            found = PyDict_GetItem(parameters, plan.names[i])
            if found == NULL:
                return None
            if PyUnicode_CheckExact(found):
                if not PyUnicode_IS_ASCII(found):
                    return None
                values[i], sizes[i] = <const uint8_t*>PyUnicode_DATA(found), PyUnicode_GET_LENGTH(found)
            elif PyLong_CheckExact(found) and plan.takes_int[i]:
                values[i], sizes[i] = digits + i * MAX_DIGITS, write_digits(found, digits + i * MAX_DIGITS)
                if sizes[i] == 0:
                    return None
            else:
                return None
            length += sizes[i]
        path = PyUnicode_New(length, 127)
        data = <uint8_t*>PyUnicode_DATA(<PyObject*>path)
        for i in range(plan.count + 1):
            found = PyTuple_GET_ITEM(plan.texts, i)
            size = PyUnicode_GET_LENGTH(found)
            memcpy(data + at, PyUnicode_DATA(found), size)
            at += size
            if i < plan.count:
                memcpy(data + at, values[i], sizes[i])
                begins[i], ends[i] = at, at + sizes[i]
                at += sizes[i]
        for i in range(plan.count):
            for k in range(begins[i], ends[i]):
                if not SAFE[data[k]] or (data[k] == 46 and k and data[k - 1] == 47):
                    return None
        if length > 1 and data[0] == 47 and (data[1] == 47 or data[1] == 46):
            return None
        return path if self._leads_back(plan, data, length, begins, ends) else None

    cdef bint _leads_back(
        self, UrlPlan plan, const uint8_t* data, Py_ssize_t length, Py_ssize_t* begins, Py_ssize_t* ends
    ) except -1:
        cdef Matcher matcher = self.matcher
        cdef Py_ssize_t slots[MAX_SLOTS]
        cdef Program* program
        cdef int32_t winner
        cdef Py_ssize_t i, slot
        if matcher.first_irregular <= plan.index:
            return False
        matcher.walking += 1
        try:
            winner = matcher._walk[uint8_t](data, length)
        finally:
            matcher.walking -= 1
        if winner != plan.index:
            return False
        if plan.count == 0:
            return True
        program = matcher._program(plan.index)
        if program.by_re or not matcher._run[uint8_t](program, data, length, slots):
            return False
        for i in range(plan.count):
            slot = plan.slots[i]
            if slots[slot] != begins[i] or slots[slot + 1] != ends[i]:
                return False
        return True
