# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, embedsignature=True
"""The states of the automaton, built when a path first needs them, and the walk that finds the winning route.

Which state follows another, `fastcore.compiled.steps` finds. States are kept up to a cap; beyond it a path is simulated without
keeping any. No captures here.

A state is a block of 32-bit words in the arena. Its first word is

    kind | HAS_WON | HAS_END | HAS_WIDE | count << COUNT | first << FIRST

and what follows depends on the kind: RUN    where it leads, then `count` bytes of text that must follow
                                      FEW    where the characters of the set `first` lead; then, for each further one of `count`
                                             sets of ASCII characters, its number and where they lead
                                      LOOP   the same, but the characters of the set `first` stay here, so no word tells that
                                      TABLE  for `count` characters from `first` on, where each leads
                                      FINAL  nothing: the text goes nowhere from here

Before it lie, from the nearest: the lowest route that matches if the text ends here (HAS_END), where characters beyond
ASCII lead (HAS_WIDE), the lowest route that has matched here (HAS_WON).

PERF: bench/router.py, 10,000 routes. Blocks are small, lie in as few lines of the processor's cache as can be, and a path's
new states lie one after the other, so that the next line is fetched while this one is looked at.

"Where it leads" is another block's place, NOWHERE, BY_CLASS (see `_wide`), or the number of a state that has no block yet.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from fastcore.compiled.matching cimport *
from fastcore.compiled.steps cimport Steps

import re

from fastcore.routing.charsets import word_set

cdef class States(Steps):
    """The states of one automaton; at most `max_states` are kept (0: in proportion to the automaton)."""

    def __cinit__(self):
        self.numbers, self.keys, self.classes, self.signatures, self.wide_targets = {}, [], {}, {}, {}
        self.group_numbers = {}

    def __init__(self, automaton, Py_ssize_t max_states=0):
        self._take_automaton(automaton)
        self.uniform = bytes([chars.wide is True for chars in self.charsets] + [False])
        self.max_states = max_states or 10_000 + self.node_count
        self._start()

    def __dealloc__(self):
        free(self.arena)
        free(self.places.data)
        free(self.built.data)
        free(self.group_bits)

    cdef int32_t winner(self, int kind, const void* text, Py_ssize_t length) except? -9:
        """The index of the winner among the routes of the automaton, NO_ROUTE where none matches; `kind` is the text's."""
        if self.simulated >= SIMULATED_BEFORE_FLUSH and self.walking == 0:
            self._start()
        self.walking += 1
        try:
            if kind == 1:
                return walk[uint8_t](self, <const uint8_t*>text, length)
            if kind == 2:
                return walk[uint16_t](self, <const uint16_t*>text, length)
            return walk[uint32_t](self, <const uint32_t*>text, length)
        finally:
            self.walking -= 1

    def statistics(self):
        """What is held now: nodes of the automaton, states, bytes of their blocks and keys, paths simulated since the last flush."""
        return {
            "nodes": self.node_count,
            "states": len(self.keys),
            "state_bytes": self.arena_count * sizeof(int32_t),
            "key_bytes": self.key_bytes,
            "simulated": self.simulated,
        }

    # -- states -------------------------------------------------------------------------------------------------------

    cdef int _start(self) except -1:
        """Forgets all states but the one before the first character."""
        self.numbers.clear()
        self.keys.clear()
        self.wide_targets.clear()
        self.places.count = 0
        self.built.count = 0
        self.key_bytes = 0
        self.arena_count = 0
        self.group_numbers.clear()
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
        if number >= self.max_states or self.key_bytes > MAX_KEY_BYTES:
            return FULL
        self.key_bytes += PyBytes_GET_SIZE(key)
        self.numbers[key] = number
        self.keys.append(key)
        push(&self.places, <uint32_t>NOWHERE)
        return <int32_t>number

    cdef int _grow_arena(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = self.arena_room
        cdef void* grown
        if self.arena_count + more <= room:
            return 0
        room = room * 2 + more + 1024
        if posix_memalign(&grown, LINE * sizeof(int32_t), room * sizeof(int32_t)) != 0:
            raise MemoryError()
        if self.arena_count:
            memcpy(grown, self.arena, self.arena_count * sizeof(int32_t))
        free(self.arena)
        self.arena, self.arena_room = <int32_t*>grown, room
        return 0

    cdef int32_t _align(self, int32_t place, Py_ssize_t size) noexcept:
        """Moves the last block so that it lies in no more lines of the cache than it must; returns its place."""
        cdef int32_t within = place % LINE, moved = place
        if within and (within + size - 1) // LINE > (size - 1) // LINE:
            moved += LINE - within
            memmove(self.arena + moved, self.arena + place, size * sizeof(int32_t))
        return moved

    cdef int32_t _group_number(self, const Bits* bits) except -1:
        """The number of a set of ASCII characters that leads somewhere; equal ones are kept once, as 256 bits each."""
        cdef bytes key = PyBytes_FromStringAndSize(<const char*>bits, sizeof(Bits))
        known = self.group_numbers.get(key)
        if known is not None:
            return known
        cdef Py_ssize_t number = len(self.group_numbers)
        cdef uint32_t* grown
        if number == self.group_room:
            grown = <uint32_t*>realloc(self.group_bits, (2 * number + 64) * GROUP_WORDS * sizeof(uint32_t))
            if grown == NULL:
                raise MemoryError()
            self.group_bits, self.group_room = grown, 2 * number + 64
        memset(self.group_bits + GROUP_WORDS * number, 0, GROUP_WORDS * sizeof(uint32_t))
        memcpy(self.group_bits + GROUP_WORDS * number, bits, sizeof(Bits))
        self.group_numbers[key] = number
        return <int32_t>number

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
        self._grow_arena(MAX_BLOCK + LINE)
        cdef int32_t start = <int32_t>self.arena_count, at_end = self._at_end(threads, count), flags = 0
        cdef int32_t won = <int32_t>threads[count]
        place = start
        if won != NO_ROUTE:
            self.arena[place], flags, place = won, flags | HAS_WON, place + 1
        if wide != NOWHERE:
            self.arena[place], flags, place = wide, flags | HAS_WIDE, place + 1
        if at_end != NO_ROUTE:
            self.arena[place], flags, place = at_end, flags | HAS_END, place + 1
        cdef int32_t size
        if self._only_character(threads, count) >= 0:
            size = self._write_run(place, threads[0])
        else:
            size = self._write_groups(self.arena + place, &groups, number, flags)
        if size == FULL:
            return FULL
        place = self._align(start, place - start + size) + place - start
        self.arena_count = place + size
        push(&self.built, <uint32_t>place)
        push(&self.built, <uint32_t>number)
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

    cdef int32_t _write_groups(self, int32_t* block, Groups* groups, int32_t number, int32_t flags) except? -9:
        """Writes the first word and what follows it; returns how many words these are."""
        cdef int count = groups.count
        cdef int i, first = 128, last = -1, c
        cdef bint loops = False
        if count == 0 and not flags & (HAS_END | HAS_WIDE):
            block[0] = FINAL | flags
            return 1
        for i in range(count):
            first, last = min(first, lowest(&groups.bits[i])), max(last, highest(&groups.bits[i]))
            if groups.to[i] == number:
                groups.bits[0], groups.bits[i] = groups.bits[i], groups.bits[0]
                groups.to[0], groups.to[i] = groups.to[i], groups.to[0]
                loops = True
        if count <= MAX_FEW and len(self.group_numbers) <= MAX_GROUPS - MAX_FEW:
            block[0] = (LOOP if loops else FEW) | flags | count << COUNT
            if count:
                block[0] |= self._group_number(&groups.bits[0]) << FIRST
            for i in range(1, count):
                block[2 * i - loops] = self._group_number(&groups.bits[i])
                block[2 * i + 1 - loops] = unbuilt(groups.to[i])
            if loops:
                return 2 * count - 1
            block[1] = unbuilt(groups.to[0]) if count else NOWHERE
            return 2 * count if count else 1
        block[0] = TABLE | flags | (last - first + 1) << COUNT | first << FIRST
        for c in range(first, last + 1):
            block[1 + c - first] = NOWHERE
            for i in range(count):
                if has(groups.bits[i].w, c):
                    block[1 + c - first] = unbuilt(groups.to[i])
        return 1 + last - first + 1

    cdef int32_t _write_run(self, int32_t place, uint32_t thread) except? -9:
        """A chain of states that each go on with one character only becomes one block; returns its words."""
        cdef uint8_t* text = <uint8_t*>(self.arena + place + 2)
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
        self.arena[place] = RUN | length << COUNT
        self.arena[place + 1] = unbuilt(number)
        return 2 + (length + 3) // 4

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
            if len(self.signatures) >= MAX_WIDE_CLASSES:
                self.signatures.clear()
                self.classes.clear()
                self.wide_targets.clear()
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
            key = self.keys[state_at(&self.built, place)]
            self._step(
                <const uint32_t*>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key) // sizeof(uint32_t) - 1,
                codepoint, <const uint8_t*>PyBytes_AS_STRING(<bytes>entry[1]),
            )
            number = self._intern()
            if number == FULL:
                return FULL
            if len(self.wide_targets) >= MAX_WIDE_TARGETS:
                self.wide_targets.clear()
            self.wide_targets[place, entry[0]] = number
        else:
            number = known
        return NOWHERE if number == NOWHERE else self._build(number)


# -- the walk ---------------------------------------------------------------------------------------------------------


cdef int32_t walk(States self, const Character* text, Py_ssize_t length) except? -9:
    """The index of the winner among the routes of the automaton; NO_ROUTE where none matches."""
    cdef const int32_t* arena = self.arena
    cdef const uint32_t* groups = self.group_bits
    cdef const uint32_t* stays
    cdef const int32_t* block
    cdef const uint8_t* run
    cdef int32_t place = self.root, best = NO_ROUTE, head, kind, count, target, i
    cdef Py_ssize_t at = 0, slot
    cdef uint32_t c
    if place == FULL:
        return simulate[Character](self, self.start, text, length, best)
    while True:
        block = arena + place
        __builtin_prefetch(block + LINE)
        head = block[0]
        kind, count = head & KIND, head >> COUNT & MAX_COUNT
        if head & HAS_WON:
            target = arena[place - 1 - before_wide(head) - (head & HAS_WIDE != 0)]
            if target < best:
                best = target
        if kind == RUN:
            if length - at < count:
                return best
            run = <const uint8_t*>(block + 2)
            if Character is uint8_t:
                if memcmp(text + at, run, count) != 0:
                    return best
            else:
                for i in range(count):
                    if text[at + i] != run[i]:
                        return best
            at += count
            slot = place + 1
        elif kind == FINAL:
            return best
        else:
            if kind == LOOP:
                stays = groups + GROUP_WORDS * (head >> FIRST)
                if Character is uint8_t:
                    while at < length and has(stays, text[at]):
                        at += 1
                else:
                    while at < length and text[at] < 128 and has(stays, text[at]):
                        at += 1
            if at == length:
                return arena[place - 1] if head & HAS_END and arena[place - 1] < best else best
            c = text[at]
            if c >= 128:
                if not head & HAS_WIDE:
                    return best
                slot = place - 1 - before_wide(head)
                if arena[slot] == BY_CLASS:
                    place = self._wide(place, c)
                    arena, groups = self.arena, self.group_bits
                    if place == NOWHERE:
                        return best
                    if place == FULL:
                        place = <int32_t>(slot + 1 + before_wide(head))
                        key = self.keys[state_at(&self.built, place)]
                        return simulate[Character](self, key, text + at, length - at, best)
                    at += 1
                    continue
            elif kind == TABLE:
                i = <int32_t>c - (head >> FIRST)
                if i < 0 or i >= count:
                    return best
                slot = place + 1 + i
            else:
                slot = place + (kind == FEW)
                if kind == LOOP or count == 0 or not has(groups + GROUP_WORDS * (head >> FIRST), c):
                    for i in range(1, count):
                        slot += 2
                        if has(groups + GROUP_WORDS * arena[slot - 1], c):
                            break
                    else:
                        return best
            at += 1
        target = arena[slot]
        if target < 0:
            if target == NOWHERE:
                return best
            count = FIRST_UNBUILT - target
            target = self._build(count)
            arena, groups = self.arena, self.group_bits
            if target == FULL:
                return simulate[Character](self, self.keys[count], text + at, length - at, best)
            self.arena[slot] = target
        place = target


cdef int32_t simulate(States self, bytes key, const Character* text, Py_ssize_t length, int32_t best) except? -9:
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
