cpdef tuple build_head(object status, object headers, str reason=*, Py_ssize_t body_length=*)
cdef bytes make_head(object status, object headers, str reason, Py_ssize_t body_length, Py_ssize_t* declared)
