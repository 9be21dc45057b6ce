"""What the matcher and its three modules share: memory that grows, sets of ASCII characters as bits, the codes of the tables."""

from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport malloc, realloc


cdef extern from "Python.h":
    int PyUnicode_KIND(PyObject* text)
    void* PyUnicode_DATA(PyObject* text)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject* text)
    object PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t end)
    int PyDict_SetItem(object mapping, PyObject* key, object value) except -1
    PyObject* PyDict_GetItemWithError(object mapping, object key) except? NULL
    Py_ssize_t PyTuple_GET_SIZE(PyObject* items)
    PyObject* PyList_GET_ITEM(object items, Py_ssize_t place)
    bint PyUnicode_CheckExact(PyObject* value)
    bint PyLong_CheckExact(PyObject* value)
    bint PyUnicode_IS_ASCII(PyObject* text)
    long PyLong_AsLongAndOverflow(PyObject* number, int* overflow)
    PyObject* PyTuple_GET_ITEM(object items, Py_ssize_t place)
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    ctypedef object (*PyCFunction)(object, object)
    ctypedef struct PyMethodDef:
        const char* ml_name
        PyCFunction ml_meth
        int ml_flags
        const char* ml_doc
    int METH_FASTCALL
    int METH_KEYWORDS
    object PyCFunction_NewEx(PyMethodDef* definition, object owner, PyObject* module)
    int posix_memalign(void** memory, size_t alignment, size_t size)
    void __builtin_prefetch(const void* place) nogil
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

    KIND = 7
    HAS_WON = 8
    HAS_END = 16
    HAS_WIDE = 32
    COUNT = 6
    MAX_COUNT = 511
    FIRST = 16

    LINE = 16
    GROUP_WORDS = 8
    MAX_RUN = 250
    MAX_BLOCK = 160
    MAX_FEW = 3
    MAX_GROUPS = 4096

    OWES_END = 1
    OWES_LAST_NEWLINE = 2
    OWES_LINE_END = 4
    OWES_WORD = 8
    OWES_NO_WORD = 16
    OWES_ASCII_WORD = 32
    OWES_NO_ASCII_WORD = 64
    OWES_MORE = 128
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
    MAX_KEY_BYTES = 16 << 20
    MAX_WIDE_CACHE = 8192
    MAX_WIDE_CLASSES = 4096
    MAX_WIDE_TARGETS = 65536
    SIMULATED_BEFORE_FLUSH = 1000


cdef struct Bits:
    uint32_t w[4]


cdef struct Groups:
    Bits bits[130]
    int32_t to[130]
    int count


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


cdef inline void* checked_malloc(size_t size) except NULL:
    cdef inline void* memory = malloc(size if size else 1)
    if memory == NULL:
        raise MemoryError()
    return memory


cdef inline Bits bits_of(object number):
    cdef Bits bits
    cdef int i
    for i in range(4):
        bits.w[i] = <uint32_t>((number >> (32 * i)) & 0xFFFFFFFF)
    return bits


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


cdef inline int8_t wide_code(object wide) except -1:
    return 2 if wide is None else 1 if wide else 0


cdef inline void split_groups(Groups* groups, const Bits* bits) noexcept:
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


cdef inline void merge_groups(Groups* groups) noexcept:
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


cdef inline int compare_words(const void* one, const void* other) noexcept nogil:
    cdef uint32_t a = (<const uint32_t*>one)[0]
    cdef uint32_t b = (<const uint32_t*>other)[0]
    return (a > b) - (a < b)


cdef inline int32_t unbuilt(int32_t number) noexcept:
    return NOWHERE if number == NOWHERE else FIRST_UNBUILT - number


cdef inline int32_t before_wide(int32_t head) noexcept:
    """How many words lie between a block's first word and the one that tells of characters beyond ASCII."""
    return head & HAS_END != 0


cdef inline int32_t state_at(const Words* built, int32_t place) noexcept:
    """The number of the state whose block lies there; `built` has (place, number) of each block, in the order of places."""
    cdef Py_ssize_t low = 0, high = built.count >> 1, middle
    while high - low > 1:
        middle = (low + high) >> 1
        if <int32_t>built.data[2 * middle] <= place:
            low = middle
        else:
            high = middle
    return <int32_t>built.data[2 * low + 1]
