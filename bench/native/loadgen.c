/* A FastCGI load generator: the part of a web server that talks to back ends, and nothing else.
 *
 *     loadgen [options] unix:/path | host:port
 *
 * One process, one epoll loop, C connections, each with one request at a time: sent in one write where the socket takes
 * it, the answer read to its END_REQUEST and checked byte for byte (framing, status, body). It counts a request only
 * when all of that is right, and says the first thing that was not. Latency is from the first byte out (with a
 * connection each: from connect) to END_REQUEST. Results are one JSON object on standard output.
 */
#define _GNU_SOURCE
#include "shared.h"
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MAX_HEAD = 8192, READ_SIZE = 262144, MAX_CONNECTIONS = 4096 };
#define MAX_SAMPLES (1u << 22)

struct connection {
    int fd, watched_out, served;
    size_t sent;
    unsigned char *input;      /* bytes of records that are not complete, and of the one being read */
    size_t have;
    char head[MAX_HEAD];
    size_t head_length, body_length;
    int in_body, wrong;
    uint64_t started;
};

static struct {
    const char *address, *expect;
    size_t body, expect_length;
    unsigned connections;
    uint64_t requests;
    double seconds, warm;
    int keep, timeout;
} options = {.connections = 8, .expect = "Hello, world!\n", .timeout = 20};

static unsigned char *request;
static size_t request_length;
static struct connection *all;
static int poller;
static uint64_t begun, finished, completed, counted, errors, reconnects, bytes_in, count_from, sample_count;
static uint32_t *samples;
static char first_error[512];

static void note_error(struct connection *connection, const char *format, ...)
{
    if (connection)
        connection->wrong = 1;
    if (!errors++) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(first_error, sizeof first_error, format, arguments);
        va_end(arguments);
    }
}

/* ---- the request, built once */

static void append(const void *data, size_t length)
{
    request = realloc(request, request_length + length + 1);
    memcpy(request + request_length, data, length);
    request_length += length;
}

static void append_record(int type, const void *content, unsigned length)
{
    unsigned char header[HEADER];
    put_header(header, type, length);
    append(header, HEADER);
    append(content, length);
}

static void build_request(void)
{
    unsigned char begin[8] = {0, 1, options.keep, 0, 0, 0, 0, 0}, pairs[8192];
    char length[32];
    size_t at = 0;
    snprintf(length, sizeof length, "%zu", options.body);
    for (int i = 0; i < PARAMETERS; i++) {
        const char *value = parameters[i][1];
        if (!value)
            value = strcmp(parameters[i][0], "REQUEST_METHOD") ? length : options.body ? "POST" : "GET";
        at += put_pair(pairs + at, parameters[i][0], value);
    }
    append_record(BEGIN_REQUEST, begin, sizeof begin);
    append_record(PARAMS, pairs, at);
    append_record(PARAMS, "", 0);
    unsigned char *body = malloc(MAX_CONTENT);
    for (size_t i = 0; i < MAX_CONTENT; i++)
        body[i] = 'a' + i % 26;
    for (size_t left = options.body; left;) {
        unsigned piece = left < MAX_CONTENT ? left : MAX_CONTENT;
        append_record(STDIN, body, piece);
        left -= piece;
    }
    append_record(STDIN, "", 0);
    free(body);
}

/* ---- connections */

static void watch(struct connection *connection, int operation, int out)
{
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = connection};
    if (operation == EPOLL_CTL_MOD && connection->watched_out == out)
        return;
    connection->watched_out = out;
    if (epoll_ctl(poller, operation, connection->fd, &event) < 0)
        die("epoll_ctl");
}

static void open_connection(struct connection *connection)
{
    int on = 1;
    connection->fd = socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        die("socket");
    if (target.ss_family == AF_INET)
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (connect(connection->fd, (struct sockaddr *)&target, target_length) < 0) {
        if (errno == EAGAIN) { /* unix(7): the listener's queue is full */
            usleep(100);
            continue;
        }
        if (errno != EINPROGRESS)
            die(options.address);
        break;
    }
    connection->have = connection->served = 0;
    watch(connection, EPOLL_CTL_ADD, 0);
}

static void send_request(struct connection *connection);

static void start_request(struct connection *connection)
{
    connection->sent = 0;
    connection->head_length = connection->body_length = 0;
    connection->in_body = connection->wrong = 0;
    connection->started = now();
    begun++;
    send_request(connection);
}

static void reopen(struct connection *connection)
{
    close(connection->fd);
    uint64_t started = now();
    open_connection(connection);
    start_request(connection);
    connection->started = started;
}

static void send_request(struct connection *connection)
{
    while (connection->sent < request_length) {
        ssize_t sent = send(connection->fd, request + connection->sent, request_length - connection->sent, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN || errno == ENOTCONN) {
                watch(connection, EPOLL_CTL_MOD, 1);
                return;
            }
            if (errno == EPIPE || errno == ECONNRESET)
                return; /* what the server has said before is read, and judged there */
            die("send");
        }
        connection->sent += sent;
    }
    watch(connection, EPOLL_CTL_MOD, 0);
}

/* ---- answers */

static void check_head(struct connection *connection)
{
    connection->head[connection->head_length] = 0;
    const char *status = strcasestr(connection->head, "status:");
    if (status && strncmp(status + 7 + strspn(status + 7, " "), "200", 3))
        note_error(connection, "status is not 200: %.60s", status);
    if (!strcasestr(connection->head, "content-type:"))
        note_error(connection, "no Content-Type in the head of the answer");
}

static void check_body(struct connection *connection, const unsigned char *data, size_t length)
{
    if (!options.expect_length) {
        size_t left = strlen(options.expect) - connection->body_length;
        if (length > left || memcmp(options.expect + connection->body_length, data, length)) {
            note_error(connection, "unexpected body: %.*s", (int)(length < 60 ? length : 60), data);
            connection->body_length = 0;
            return;
        }
    }
    connection->body_length += length;
}

static void on_stdout(struct connection *connection, const unsigned char *data, size_t length)
{
    bytes_in += length;
    while (!connection->in_body && length) {
        char *head = connection->head;
        size_t at = connection->head_length;
        if (at >= MAX_HEAD - 1) {
            note_error(connection, "the head of the answer is longer than %d bytes", MAX_HEAD);
            return;
        }
        head[at++] = *data++;
        length--;
        connection->head_length = at;
        if (at >= 2 && head[at - 1] == '\n' && (head[at - 2] == '\n' || (at >= 4 && head[at - 3] == '\n'))) {
            connection->in_body = 1;
            check_head(connection);
        }
    }
    if (length)
        check_body(connection, data, length);
}

static void on_end(struct connection *connection, const unsigned char *content, unsigned length)
{
    size_t expected = options.expect_length ? options.expect_length : strlen(options.expect);
    if (length != 8 || content[4])
        note_error(connection, "END_REQUEST has %u bytes and protocolStatus %d", length, length > 4 ? content[4] : -1);
    else if (!connection->in_body)
        note_error(connection, "the answer ended before its head");
    else if (connection->body_length != expected)
        note_error(connection, "the body has %zu bytes instead of %zu", connection->body_length, expected);
}

static void count(struct connection *connection)
{
    uint64_t time = now();
    finished++;
    if (connection->wrong)
        return;
    completed++;
    if (time >= count_from) {
        uint64_t latency = time - connection->started;
        samples[sample_count++ % MAX_SAMPLES] = latency > UINT32_MAX ? UINT32_MAX : latency;
        counted++;
    }
}

/* Take the complete records; 1 when the request has ended. */
static int take_records(struct connection *connection)
{
    unsigned char *data = connection->input;
    size_t at = 0;
    int ended = 0;
    while (!ended && connection->have - at >= HEADER) {
        unsigned content = data[at + 4] << 8 | data[at + 5], padding = data[at + 6];
        if (connection->have - at < HEADER + content + padding)
            break;
        if (data[at] != 1 || (data[at + 2] << 8 | data[at + 3]) != 1)
            note_error(connection, "a record of version %d for request %d", data[at], data[at + 2] << 8 | data[at + 3]);
        if (data[at + 1] == STDOUT)
            on_stdout(connection, data + at + HEADER, content);
        else if (data[at + 1] == END_REQUEST) {
            on_end(connection, data + at + HEADER, content);
            ended = 1;
        } else if (data[at + 1] != STDERR)
            note_error(connection, "a record of type %d", data[at + 1]);
        at += HEADER + content + padding;
    }
    connection->have -= at;
    memmove(data, data + at, connection->have);
    if (ended && connection->have)
        note_error(connection, "%zu bytes after END_REQUEST", connection->have);
    return ended;
}

static int wanted_more(void)
{
    return options.requests ? begun < options.requests : 1;
}

static void receive(struct connection *connection)
{
    ssize_t got = read(connection->fd, connection->input + connection->have, READ_SIZE);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        if (connection->served && !connection->have && !connection->head_length)
            reconnects++; /* the server does not keep connections, whatever it was asked */
        else
            note_error(connection, "the server closed the connection within an answer");
        begun--;
        reopen(connection);
        return;
    }
    connection->have += got;
    if (!take_records(connection))
        return;
    connection->served = 1;
    count(connection);
    if (!wanted_more()) {
        close(connection->fd);
        connection->fd = -1;
    } else if (options.keep)
        start_request(connection);
    else
        reopen(connection);
}

/* ---- the run */

static int compare(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static double percentile(double share)
{
    size_t count = sample_count < MAX_SAMPLES ? sample_count : MAX_SAMPLES;
    return count ? samples[(size_t)(share * (count - 1))] / 1000.0 : 0;
}

static void report(double elapsed)
{
    size_t count = sample_count < MAX_SAMPLES ? sample_count : MAX_SAMPLES;
    qsort(samples, count, sizeof *samples, compare);
    printf("{\"requests\": %llu, \"answered\": %llu, \"seconds\": %.6f, \"requests_per_second\": %.1f, \"errors\": %llu, "
           "\"reconnects\": %llu, \"bytes_in\": %llu, \"latency_us\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
           "\"p999\": %.1f, \"max\": %.1f}, \"first_error\": \"",
           (unsigned long long)counted, (unsigned long long)completed, elapsed, counted / elapsed, (unsigned long long)errors,
           (unsigned long long)reconnects, (unsigned long long)bytes_in, percentile(0.5), percentile(0.9),
           percentile(0.99), percentile(0.999), percentile(1));
    for (const char *c = first_error; *c; c++)
        printf(*c == '"' || *c == '\\' ? "\\%c" : *c < ' ' ? "\\u%04x" : "%c", *c);
    printf("\"}\n");
}

static void run(void)
{
    struct epoll_event events[256];
    uint64_t start = now(), last = start, last_finished = 0;
    uint64_t until = options.requests ? UINT64_MAX : start + (options.warm + options.seconds) * 1e9;
    count_from = start + options.warm * 1e9;
    for (unsigned i = 0; i < options.connections && wanted_more(); i++) {
        all[i].input = malloc(READ_SIZE + MAX_CONTENT + 256 + HEADER);
        open_connection(&all[i]);
        start_request(&all[i]);
    }
    while (options.requests ? finished < options.requests : now() < until) {
        int ready = epoll_wait(poller, events, 256, 200);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_request(connection);
            if (connection->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(connection);
        }
        if (finished != last_finished) {
            last_finished = finished;
            last = now();
        } else if (now() - last > options.timeout * 1000000000ull) {
            note_error(NULL, "no answer for %d s", options.timeout);
            break;
        }
        if (errors > 1000)
            break;
    }
    report((now() - count_from) / 1e9);
}

static void usage(void)
{
    fputs("usage: loadgen [options] unix:/path | host:port\n"
          "  -c N         connections at once (8)\n"
          "  -n N         requests in all; or\n"
          "  -t SECONDS   how long (2)\n"
          "  -w SECONDS   not counted before that (0)\n"
          "  -k           keep connections (default: one for each request)\n"
          "  -b BYTES     length of the request's body (0: a GET)\n"
          "  -e TEXT      the body that each answer must have (Hello, world!)\n"
          "  -E BYTES     the length of the body that each answer must have, whatever it says\n"
          "  -T SECONDS   give up after so long without an answer (20)\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    int option;
    options.seconds = 2;
    while ((option = getopt(argc, argv, "c:n:t:w:kb:e:E:T:")) >= 0)
        switch (option) {
        case 'c': options.connections = atoi(optarg); break;
        case 'n': options.requests = strtoull(optarg, NULL, 10); break;
        case 't': options.seconds = atof(optarg); break;
        case 'w': options.warm = atof(optarg); break;
        case 'k': options.keep = 1; break;
        case 'b': options.body = strtoull(optarg, NULL, 10); break;
        case 'e': options.expect = optarg; break;
        case 'E': options.expect_length = strtoull(optarg, NULL, 10); break;
        case 'T': options.timeout = atoi(optarg); break;
        default: usage();
        }
    if (optind != argc - 1 || !options.connections || options.connections > MAX_CONNECTIONS)
        usage();
    options.address = argv[optind];
    resolve(options.address);
    build_request();
    all = calloc(options.connections, sizeof *all);
    samples = malloc(sizeof *samples * MAX_SAMPLES);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!all || !samples || poller < 0)
        die("setup");
    run();
    return errors ? 1 : 0;
}
