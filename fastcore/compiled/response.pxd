cpdef tuple build_head(object status, object headers, str reason=*, Py_ssize_t body_length=*)
