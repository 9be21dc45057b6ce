# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, embedsignature=True
"""Dispatch by one automaton for the whole table: what `fastcore.pure.matcher` defines, in time linear in the path.

`match` runs in two steps. The *walk* (`fastcore.compiled.states`) goes once over the path and ends with the winning route. Then
the winner's *program* (`fastcore.compiled.programs`) finds where its parameters lie. Routes that have no automaton are tried
by `re`, in their place in the order. `UrlBuilder` is the way back for what is plain.
"""

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy

from fastcore.compiled.matching cimport *
from fastcore.compiled.programs cimport Programs
from fastcore.compiled.states cimport States

from fastcore.routing import automaton as nfa
from fastcore.routing import captures, reverse


cdef dict present_groups(object found):
    return {name: text for name, text in found.groupdict().items() if text is not None}


cdef class Matcher:
    """Routes in their order, as one automaton. The same names as `fastcore.pure.matcher.Matcher`.

    `max_states` caps the states that are kept (by default in proportion to the automaton).
    """

    cdef readonly tuple routes
    cdef list targets
    cdef States states
    cdef Programs programs
    cdef list irregular         # routes without an automaton: (index, literal prefix, attempt)
    cdef int32_t first_irregular

    def __init__(self, routes, Py_ssize_t max_states=0):
        self.routes = tuple(routes)
        self.targets = [route.target for route in self.routes]
        automaton = nfa.Automaton(self.routes)
        self.states = States(automaton, max_states)
        self.programs = Programs(self.routes)
        self.irregular = []
        for index in sorted(automaton.irregular):
            route = self.routes[index]
            self.irregular.append((index, captures.literal_prefix(route), route.compiled.match))
        self.first_irregular = self.irregular[0][0] if self.irregular else NO_ROUTE

    cdef int32_t _winner(self, str path) except? -9:
        cdef PyObject* text = <PyObject*>path
        return self.states.winner(PyUnicode_KIND(text), PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))

    cdef dict _parameters(self, str path, Py_ssize_t index):
        """The parameters of the winning route."""
        cdef dict parameters = {}
        cdef Program* program = self.programs.program(index)
        cdef PyObject* text = <PyObject*>path
        cdef Py_ssize_t slots[MAX_SLOTS]
        cdef Py_ssize_t i
        if program.slots == 0:
            return parameters
        if not self.programs.run(program, PyUnicode_KIND(text), PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), slots):
            return present_groups(self.routes[index].compiled.match(path))
        for i in range(program.slots >> 1):
            if slots[2 * i + 1] >= 0:
                PyDict_SetItem(
                    parameters,
                    PyTuple_GET_ITEM(<object>program.names, i),
                    PyUnicode_Substring(path, slots[2 * i], slots[2 * i + 1]),
                )
        return parameters

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
        __builtin_prefetch(PyList_GET_ITEM(self.targets, best))  # while the parameters are found
        return self.targets[best], self._parameters(path, best)

    @property
    def max_states(self):
        """How many states are kept at most."""
        return self.states.max_states

    def statistics(self):
        """What the matcher holds now: nodes of the automaton, states, bytes of their blocks, simulated paths."""
        return self.states.statistics()


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
        cdef Py_ssize_t i, slot
        if matcher.first_irregular <= plan.index:
            return False
        if matcher.states.winner(1, data, length) != plan.index:
            return False
        if plan.count == 0:
            return True
        program = matcher.programs.program(plan.index)
        if not matcher.programs.run(program, 1, data, length, slots):
            return False
        for i in range(plan.count):
            slot = plan.slots[i]
            if slots[slot] != begins[i] or slots[slot + 1] != ends[i]:
                return False
        return True
