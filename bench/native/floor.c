/* The floor: the least that a FastCGI responder on Linux can do.
 *
 *     floor unix:/path | floor host:port        (host is a numeric IPv4 address)
 *
 * One process, one epoll loop, one constant answer. It walks record headers so far as to know where a request ends and
 * whether the connection is kept (FastCGI 1.0, 3.3 and 5.1); it reads no parameter, checks nothing, runs no application.
 * One read, one write for a request that comes in one piece. Whatever a server does beyond this shows as its distance
 * from here.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, STDIN = 5, STDOUT = 6, HEADER = 8, BUFFER = 65536, MAX_FD = 65536 };

/* What is known of a connection between two reads: the bytes of a header that was cut, and the content still to skip. */
struct connection {
    unsigned char header[HEADER + 8];
    unsigned have, skip;
    int kept;
};

static struct connection *connections[MAX_FD];
static unsigned char answer[512];
static size_t answer_length;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void add_record(int type, const void *content, unsigned length)
{
    unsigned char *out = answer + answer_length;
    unsigned char header[HEADER] = {1, type, 0, 1, length >> 8, length & 255, 0, 0};
    memcpy(out, header, HEADER);
    memcpy(out + HEADER, content, length);
    answer_length += HEADER + length;
}

static void build_answer(void)
{
    static const char page[] = "Status: 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                               "Content-Length: 14\r\n\r\nHello, world!\n";
    add_record(STDOUT, page, sizeof page - 1);
    add_record(STDOUT, "", 0);
    add_record(END_REQUEST, "\0\0\0\0\0\0\0\0", 8);
}

static int listen_at(const char *address)
{
    int fd;
    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        if (strlen(address + 5) >= sizeof name.sun_path)
            die("path too long");
        strcpy(name.sun_path, address + 5);
        unlink(name.sun_path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) < 0)
            die(address);
    } else {
        struct sockaddr_in name = {.sin_family = AF_INET};
        char host[64];
        const char *colon = strrchr(address, ':');
        int on = 1;
        if (!colon || (size_t)(colon - address) >= sizeof host)
            die(address);
        memcpy(host, address, colon - address);
        host[colon - address] = 0;
        name.sin_port = htons(atoi(colon + 1));
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (fd < 0 || inet_pton(AF_INET, host, &name.sin_addr) != 1 || bind(fd, (struct sockaddr *)&name, sizeof name) < 0)
            die(address);
    }
    if (listen(fd, 1024) < 0)
        die("listen");
    return fd;
}

/* Walk the records in `data`; the number of requests that end in it. */
static int requests_in(struct connection *connection, const unsigned char *data, size_t length)
{
    int ended = 0;
    while (length) {
        unsigned step;
        if (connection->skip) {
            step = connection->skip < length ? connection->skip : length;
            connection->skip -= step;
        } else {
            unsigned wanted = HEADER;
            if (connection->have >= HEADER && connection->header[1] == BEGIN_REQUEST)
                wanted = HEADER + 8;
            step = wanted - connection->have < length ? wanted - connection->have : length;
            memcpy(connection->header + connection->have, data, step);
            connection->have += step;
            if (connection->have == wanted) {
                const unsigned char *header = connection->header;
                unsigned content = header[4] << 8 | header[5];
                if (wanted == HEADER && header[1] == BEGIN_REQUEST && content >= 8)
                    goto next;
                if (wanted > HEADER) {
                    connection->kept = header[HEADER + 2] & 1;
                    content -= 8;
                }
                ended += header[1] == STDIN && content == 0;
                connection->skip = content + header[6];
                connection->have = 0;
            }
        }
    next:
        data += step;
        length -= step;
    }
    return ended;
}

static void close_connection(int fd)
{
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static void serve(int fd)
{
    static unsigned char buffer[BUFFER];
    struct connection *connection = connections[fd];
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            close_connection(fd);
        return;
    }
    int ended = requests_in(connection, buffer, got);
    for (int i = 0; i < ended; i++)
        if (write(fd, answer, answer_length) != (ssize_t)answer_length) {
            close_connection(fd);
            return;
        }
    if (ended && !connection->kept)
        close_connection(fd);
}

static void accept_all(int listener, int poller)
{
    for (;;) {
        int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0)
            return;
        if (fd >= MAX_FD || !(connections[fd] = calloc(1, sizeof *connections[fd]))) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        serve(fd);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: floor unix:/path | floor host:port\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* a client that goes away in mid-answer */
    build_answer();
    int listener = listen_at(argv[1]), poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener, poller);
            else if (connections[events[i].data.fd])
                serve(events[i].data.fd);
        }
    }
}
