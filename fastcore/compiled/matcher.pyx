# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, embedsignature=True
"""Dispatch by one automaton for the whole table: what `fastcore.pure.matcher` defines, in time linear in the path.

`match` runs in two steps. The *walk* (`fastcore.compiled.states`) goes once over the path and ends with the winning route. Then
the winner's *program* (`fastcore.compiled.programs`) finds where its parameters lie. Routes that have no automaton are tried
by `re`, in their place in the order. `UrlBuilder` is the way back for what is plain.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from libc.stdint cimport int16_t, int32_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from fastcore.compiled.matching cimport *
from fastcore.compiled.programs cimport Programs
from fastcore.compiled.states cimport States

import sys

from fastcore.routing import automaton as nfa
from fastcore.routing import captures, reverse


cdef dict present_groups(object found):
    return {name: text for name, text in found.groupdict().items() if text is not None}


cdef struct Ending:
    PyObject* target
    Program* program        # NULL until the route first wins


@cython.no_gc_clear  # `targets` is needed as long as `endings` point to them
cdef class Matcher:
    """Routes in their order, as one automaton. The same names as `fastcore.pure.matcher.Matcher`.

    `max_states` caps the states that are kept (by default in proportion to the automaton).
    """

    cdef readonly tuple routes
    cdef list targets
    cdef Ending* endings        # by route: PERF: bench/router.py, 10,000 routes: one line of the cache, not two
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
        cdef Py_ssize_t i
        free(self.endings)
        self.endings = <Ending*>checked_malloc(len(self.routes) * sizeof(Ending))
        for i in range(len(self.routes)):
            self.endings[i].target, self.endings[i].program = PyList_GET_ITEM(self.targets, i), NULL

    def __dealloc__(self):
        free(self.endings)

    cdef int32_t _winner(self, str path) except? -9:
        cdef PyObject* text = <PyObject*>path
        return self.states.winner(PyUnicode_KIND(text), PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))

    cdef dict _parameters(self, str path, Py_ssize_t index):
        """The parameters of the winning route."""
        cdef dict parameters = {}
        cdef Program* program = self.endings[index].program
        cdef PyObject* text = <PyObject*>path
        cdef Py_ssize_t slots[MAX_SLOTS]
        cdef Py_ssize_t i
        if program == NULL:
            program = self.endings[index].program = self.programs.program(index)
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
        __builtin_prefetch(self.endings[best].target)  # while the parameters are found
        return <object>self.endings[best].target, self._parameters(path, best)

    @property
    def max_states(self):
        """How many states are kept at most."""
        return self.states.max_states

    def statistics(self):
        """What the matcher holds now: nodes of the automaton, states, bytes of their blocks and keys, simulated paths."""
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


cdef dict keywords(PyObject** values, PyObject* names, Py_ssize_t given):
    return {<object>PyTuple_GET_ITEM(<object>names, i): <object>values[i] for i in range(given)}


cdef inline Py_ssize_t place_of(PyObject* names, PyObject* wanted):
    """The place of a parameter's name among those of the call, -1 where it is not given."""
    cdef Py_ssize_t i, count = PyTuple_GET_SIZE(names)
    for i in range(count):
        if PyTuple_GET_ITEM(<object>names, i) == wanted:
            return i
    for i in range(count):
        if <object>PyTuple_GET_ITEM(<object>names, i) == <object>wanted:
            return i
    return -1


cdef object call_url(object builder, PyObject** arguments, Py_ssize_t count, PyObject* names):
    if count != 1:
        raise TypeError(f"url() takes one target or name, and parameters by keyword; {count} positional arguments came")
    return (<UrlBuilder>builder)._url(
        <object>arguments[0], arguments + 1, names, PyTuple_GET_SIZE(names) if names != NULL else 0
    )


# PERF: bench/router.py, url(): the keywords of a call come as they lie, without a dict of them.
cdef PyMethodDef URL_FUNCTION
URL_FUNCTION.ml_name = b"url"
URL_FUNCTION.ml_meth = <PyCFunction><void*>call_url
URL_FUNCTION.ml_flags = METH_FASTCALL | METH_KEYWORDS
URL_FUNCTION.ml_doc = (
    b"url($self, target_or_name, /, **parameters)\n--\n\n"
    b"The percent-encoded path that leads to this target or route: see `fastcore.routing.Router.url`."
)


cdef class UrlPlan:
    """A template made ready: `texts[0] value texts[1] value … texts[n]`, for the parameters `names` in this order.

    PERF: bench/router.py, url(): all that a call reads lies in two objects, the plan and its text.
    """

    cdef UrlPlan next               # another plan of the same target
    cdef int32_t index
    cdef int32_t count
    cdef bytes text                 # of the template, without the values
    cdef int32_t ends[MAX_PLAIN + 1]    # of each text within it
    cdef int16_t slots[MAX_PLAIN]   # for each parameter the slot in which the route's program saves where it begins
    cdef bint takes_int[MAX_PLAIN]  # whether an int is written as `str` writes it
    cdef PyObject* keys[MAX_PLAIN]  # the same as `names`
    cdef tuple names

    def __init__(self, index, names, texts, slots, takes_int):
        cdef int i
        self.names = tuple([sys.intern(name) for name in names])  # as those of calls are
        self.index, self.count = index, <int32_t>len(self.names)
        if self.count > MAX_PLAIN or len(texts) != self.count + 1:
            raise ValueError(f"a plan has at most {MAX_PLAIN} parameters, and a text more than parameters")
        self.text = "".join(texts).encode("ascii")
        for i in range(self.count + 1):
            self.ends[i] = <int32_t>sum([len(text) for text in texts[: i + 1]])
        for i in range(self.count):
            self.slots[i], self.takes_int[i] = slots[i], takes_int[i]
            self.keys[i] = PyTuple_GET_ITEM(self.names, i)


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

    @property
    def url(self):
        """The percent-encoded path that leads to a target or route: see `fastcore.routing.Router.url`."""
        return PyCFunction_NewEx(&URL_FUNCTION, self, NULL)

    cdef object _url(self, object target_or_name, PyObject** values, PyObject* names, Py_ssize_t given):
        cdef UrlPlan plan
        cdef PyObject* plans
        try:
            plans = PyDict_GetItemWithError(self.plans, target_or_name)
        except TypeError:
            return self.slowly(target_or_name, keywords(values, names, given))
        plan = <UrlPlan>plans if plans != NULL else None
        while plan is not None:
            if plan.count == given:
                path = self._fill(plan, values, names)
                if path is not None:
                    return path
            plan = plan.next
        parameters = keywords(values, names, given)
        path = self.slowly(target_or_name, parameters)
        self._learn(target_or_name, frozenset(parameters))
        return path

    cdef int _learn(self, object target_or_name, frozenset names) except -1:
        """Keeps a plan for these parameters' names where there is none yet."""
        cdef UrlPlan first = self.plans.get(target_or_name), plan = first
        while plan is not None:
            if frozenset(plan.names) == names:
                return 0
            plan = plan.next
        learned = self.learn(target_or_name, names)
        if learned is not None:
            plan = UrlPlan(*learned)
            plan.next = first
            self.plans[target_or_name] = plan
        return 0

    cdef object _fill(self, UrlPlan plan, PyObject** given, PyObject* given_names):
        """The path; None where it is not plain or not right."""
        cdef const uint8_t* values[MAX_PLAIN]
        cdef Py_ssize_t sizes[MAX_PLAIN]
        cdef Py_ssize_t begins[MAX_PLAIN]
        cdef Py_ssize_t ends[MAX_PLAIN]
        cdef uint8_t digits[MAX_PLAIN * MAX_DIGITS]
        cdef Py_ssize_t length = plan.ends[plan.count], at = 0, i, k, size, place, done = 0
        cdef PyObject* found
        cdef uint8_t* data
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(plan.text)
        for i in range(plan.count):
            place = place_of(given_names, plan.keys[i])
            if place < 0:
                return None
            found = given[place]
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
            size = plan.ends[i] - done
            memcpy(data + at, text + done, size)
            at, done = at + size, plan.ends[i]
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
        program = matcher.endings[plan.index].program
        if program == NULL:
            program = matcher.endings[plan.index].program = matcher.programs.program(plan.index)
        if not matcher.programs.run(program, 1, data, length, slots):
            return False
        for i in range(plan.count):
            slot = plan.slots[i]
            if slots[slot] != begins[i] or slots[slot + 1] != ends[i]:
                return False
        return True
