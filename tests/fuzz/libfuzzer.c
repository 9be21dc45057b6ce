/* libFuzzer around an embedded Python: `make fuzz` builds and runs it.
 *
 *     fuzzer [libFuzzer options] CORPUS…        with FUZZ_TARGET and FUZZ_PYTHON (an interpreter) in the environment
 *
 * The targets are functions of tests/support/fuzz_targets.py: check(name, bytes) raises where something is found, and
 * mutate(name, bytes, limit, seed) makes new input; libfuzzer.mutate(bytes, limit) gives it libFuzzer's own mutation.
 * Coverage: the extension modules are compiled with clang's instrumentation; of Python code under fastcore/ and
 * framework/ each pair of consecutive lines is a counter.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <frameobject.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t limit);

#define COUNTERS 65536
#define CODES 16384
__attribute__((section("__libfuzzer_extra_counters"), used)) static uint8_t counters[COUNTERS];

static PyObject *check, *mutate;
static const char *target;

/* Code objects that were met, and a number of each: 0 for those that are not looked at. They are kept alive. */
static struct { PyCodeObject *code; uint32_t number; } codes[CODES];
static unsigned known;

static uint32_t hash_text(uint32_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

static uint32_t number_of(PyCodeObject *code)
{
    size_t place = ((uintptr_t)code >> 4) * 2654435761u % CODES;
    while (codes[place].code && codes[place].code != code)
        place = (place + 1) % CODES;
    if (codes[place].code)
        return codes[place].number;
    if (known > CODES * 3 / 4)
        return 0;
    const char *file = PyUnicode_AsUTF8(code->co_filename), *name = PyUnicode_AsUTF8(code->co_name);
    if (!file || !name) {
        PyErr_Clear();
        return 0;
    }
    const char *ours = strstr(file, "/fastcore/");
    if (!ours)
        ours = strstr(file, "/framework/");
    Py_INCREF(code);
    known++;
    codes[place].code = code;
    codes[place].number = ours ? hash_text(hash_text(2166136261u, ours), name) | 1 : 0;
    return codes[place].number;
}

static uint32_t last_line;

static int on_event(PyObject *self, PyFrameObject *frame, int what, PyObject *argument)
{
    (void)self;
    (void)argument;
    if (what != PyTrace_LINE && what != PyTrace_CALL)
        return 0;
    PyCodeObject *code = PyFrame_GetCode(frame);
    uint32_t number = number_of(code);
    Py_DECREF(code);
    if (number) {
        uint32_t line = (number + (uint32_t)PyFrame_GetLineNumber(frame)) * 2654435761u;
        counters[(line ^ last_line >> 1) % COUNTERS]++;
        last_line = line;
    } else if (what == PyTrace_CALL) {
        PyObject *off = Py_False;
        if (PyObject_SetAttrString((PyObject *)frame, "f_trace_lines", off))
            PyErr_Clear();
    }
    return 0;
}

static PyObject *native_mutate(PyObject *self, PyObject *arguments)
{
    const char *data;
    Py_ssize_t size, limit;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "y#n", &data, &size, &limit))
        return NULL;
    if (limit < size)
        limit = size;
    PyObject *result = PyBytes_FromStringAndSize(NULL, limit ? limit : 1);
    if (!result)
        return NULL;
    memcpy(PyBytes_AS_STRING(result), data, (size_t)size);
    size = (Py_ssize_t)LLVMFuzzerMutate((uint8_t *)PyBytes_AS_STRING(result), (size_t)size, (size_t)limit);
    _PyBytes_Resize(&result, size);
    return result;
}

static PyMethodDef functions[] = {{"mutate", native_mutate, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "libfuzzer", NULL, -1, functions, NULL, NULL, NULL, NULL};

static PyObject *make_module(void)
{
    return PyModule_Create(&module);
}

static void fail(void)
{
    PyErr_Print();
    fflush(NULL);
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *interpreter = getenv("FUZZ_PYTHON");
    target = getenv("FUZZ_TARGET");
    if (!interpreter || !target) {
        fputs("FUZZ_PYTHON and FUZZ_TARGET are not set: run this by make fuzz\n", stderr);
        exit(2);
    }
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;
    PyConfig_SetBytesString(&config, &config.program_name, interpreter);
    PyConfig_SetBytesString(&config, &config.executable, interpreter);
    PyImport_AppendInittab("libfuzzer", make_module);
    PyStatus status = Py_InitializeFromConfig(&config);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    PyConfig_Clear(&config);
    PyObject *targets = PyImport_ImportModule("fuzz_targets");
    if (!targets || !(check = PyObject_GetAttrString(targets, "check")) ||
        !(mutate = PyObject_GetAttrString(targets, "mutate")))
        fail();
    PyEval_SetTrace(on_event, NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    last_line = 0;
    PyObject *result = PyObject_CallFunction(check, "sy#", target, (const char *)data, (Py_ssize_t)size);
    if (!result)
        fail();
    Py_DECREF(result);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed)
{
    PyEval_SetTrace(NULL, NULL);
    PyObject *made = PyObject_CallFunction(mutate, "sy#nI", target, (const char *)data, (Py_ssize_t)size,
                                           (Py_ssize_t)limit, seed);
    if (!made)
        fail();
    size_t length = (size_t)PyBytes_GET_SIZE(made);
    if (length > limit)
        length = limit;
    memcpy(data, PyBytes_AS_STRING(made), length);
    Py_DECREF(made);
    PyEval_SetTrace(on_event, NULL);
    return length;
}
