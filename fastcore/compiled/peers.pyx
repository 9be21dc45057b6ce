"""Who may speak: decided for each connection before a byte of it is read. The twin is fastcore.pure.peers."""

from fastcore.compiled.system cimport (
    AF_UNIX,
    NI_MAXHOST,
    NI_NUMERICHOST,
    SO_PEERCRED,
    SOL_SOCKET,
    fastcore_peer,
    getnameinfo,
    getsockopt,
    sockaddr,
    sockaddr_storage,
    socklen_t,
)


cdef class Peers:
    """Which user ids may connect to a unix socket, None for all that its mode lets in; which hosts over TCP."""

    def __init__(self, allow_uids, allow_hosts, complain):
        self.uids = None if allow_uids is None else frozenset(allow_uids)
        self.hosts = frozenset(allow_hosts)
        self.complain = complain

    cdef bint allow(self, int fd, sockaddr_storage* address, socklen_t length) except -1:
        """Whether this peer may speak at all."""
        cdef char[NI_MAXHOST] host
        cdef fastcore_peer peer
        cdef socklen_t size = sizeof(peer)
        if address.ss_family != AF_UNIX:
            if getnameinfo(<sockaddr*>address, length, host, sizeof(host), NULL, 0, NI_NUMERICHOST):
                return False
            name = host.decode("ascii", "replace")
            if name not in self.hosts:
                self.complain(f"refused a connection from {name}, which is not allowed")
                return False
            return True
        if self.uids is None:
            return True
        if getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0:
            return False
        if peer.uid not in self.uids:
            self.complain(f"refused a connection from user id {peer.uid} (process {peer.pid}), which is not allowed")
            return False
        return True
