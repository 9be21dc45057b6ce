cpdef tuple build_head(object status, object headers, str reason=*, long long body_length=*)
cdef bytes make_head(object status, object headers, str reason, long long body_length, long long* declared)
