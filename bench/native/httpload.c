/* An HTTP/1.1 load generator: what stands in front of the front end.
 *
 *     httpload [options] unix:/path | host:port
 *
 * One process, one epoll loop, C kept connections, each with one GET at a time (or a POST of the -b TEXT, of the media type
 * -y TYPE), sent as a browser sends it; each answer is checked: status 200, Content-Length, every byte of the body. A connection that the server closes between two answers is
 * opened again. Results are one JSON object on standard output; 1 where an answer was wrong.
 */
#define _GNU_SOURCE
#include "shared.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { ROOM = 16384, MAX_CONNECTIONS = 1024, MAX_SAMPLES = 1 << 22 };

struct connection {
    int fd;
    size_t have, served;
    uint64_t started;
    char input[ROOM];
};

static const char *path = "/", *expect = "Hello, world!\n", *address, *body, *type = "application/json";
static unsigned connections = 8;
static uint64_t requests, begun, finished, answered, errors, counted, count_from;
static double seconds = 2, warm;
static int poller, timeout = 20;
static char request[4096], first_error[256];
static uint32_t *samples; /* the last MAX_SAMPLES latencies in ns */
static size_t sample_count;
static struct connection *all;

static void note_error(const char *format, ...)
{
    if (!errors++) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(first_error, sizeof first_error, format, arguments);
        va_end(arguments);
    }
}

static int wanted_more(void)
{
    return !requests || begun < requests;
}

static void open_connection(struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    connection->fd = socket(target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connection->have = connection->served = 0;
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&target, target_length) < 0)
        die(address);
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        die("epoll_ctl");
}

static void send_request(struct connection *connection)
{
    size_t length = strlen(request); /* far less than a socket's buffer */
    begun++;
    connection->started = now();
    if (send(connection->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length && errno != EPIPE && errno != ECONNRESET)
        die("send");
}

static void reopen(struct connection *connection)
{
    close(connection->fd);
    open_connection(connection);
    send_request(connection);
}

/* The length of the complete answer in the input, 0 while more is needed; `right` tells whether it is the page. */
static size_t take_answer(struct connection *connection, int *right)
{
    connection->input[connection->have] = 0;
    char *end = strstr(connection->input, "\r\n\r\n");
    if (!end)
        return 0;
    const char *found = strcasestr(connection->input, "\r\nContent-Length:");
    if (!found || found > end) {
        note_error("no Content-Length: %.80s", connection->input);
        *right = 0;
        return connection->have;
    }
    size_t head = end + 4 - connection->input, length = strtoull(found + 17, NULL, 10);
    if (connection->have < head + length && head + length < ROOM)
        return 0;
    *right = !strncmp(connection->input, "HTTP/1.1 200", 12) && length == strlen(expect) && !memcmp(end + 4, expect, length);
    if (!*right)
        note_error("not the page: %.80s", connection->input);
    return head + length;
}

static void receive(struct connection *connection)
{
    int right = 0;
    ssize_t got = read(connection->fd, connection->input + connection->have, ROOM - 1 - connection->have);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        if (!connection->served || connection->have)
            note_error("the server closed the connection within an answer");
        begun--;
        reopen(connection);
        return;
    }
    connection->have += got;
    size_t length = take_answer(connection, &right);
    if (!length)
        return;
    if (connection->have > length)
        note_error("%zu bytes after the answer", connection->have - length);
    connection->have = 0;
    connection->served++;
    finished++;
    answered += right;
    uint64_t time = now(), latency = time - connection->started;
    if (right && time >= count_from) {
        counted++;
        samples[sample_count++ % MAX_SAMPLES] = latency > UINT32_MAX ? UINT32_MAX : latency;
    }
    if (!wanted_more()) {
        close(connection->fd);
        connection->fd = -1;
    } else if (right)
        send_request(connection);
    else
        reopen(connection);
}

static int compare(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return a < b ? -1 : a > b;
}

/* Microseconds that so many of the answers took at most. */
static double latency(double share)
{
    size_t count = sample_count < MAX_SAMPLES ? sample_count : MAX_SAMPLES;
    return count ? samples[(size_t)((count - 1) * share)] / 1e3 : 0;
}

static void run(void)
{
    struct epoll_event events[256];
    uint64_t start = now(), last = start, last_finished = 0;
    uint64_t until = requests ? UINT64_MAX : start + (warm + seconds) * 1e9;
    all = calloc(connections, sizeof *all);
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    if (!all || !samples)
        die("calloc");
    count_from = start + warm * 1e9;
    for (unsigned i = 0; i < connections && wanted_more(); i++) {
        open_connection(&all[i]);
        send_request(&all[i]);
    }
    while (requests ? finished < requests : now() < until) {
        int ready = epoll_wait(poller, events, 256, 200);
        for (int i = 0; i < ready; i++)
            if (((struct connection *)events[i].data.ptr)->fd >= 0)
                receive(events[i].data.ptr);
        if (finished != last_finished) {
            last_finished = finished;
            last = now();
        } else if (now() - last > timeout * 1000000000ull) {
            note_error("no answer for %d s", timeout);
            break;
        }
        if (errors > 1000)
            break;
    }
    double elapsed = (now() - count_from) / 1e9;
    qsort(samples, sample_count < MAX_SAMPLES ? sample_count : MAX_SAMPLES, sizeof *samples, compare);
    printf("{\"requests\": %llu, \"answered\": %llu, \"seconds\": %.6f, \"requests_per_second\": %.1f, \"errors\": %llu, "
           "\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f}, \"first_error\": \"",
           (unsigned long long)counted, (unsigned long long)answered, elapsed, counted / elapsed, (unsigned long long)errors,
           latency(0.5), latency(0.99));
    for (const char *c = first_error; *c; c++)
        printf(*c == '"' || *c == '\\' ? "\\%c" : (unsigned char)*c < ' ' ? "\\u%04x" : "%c", (unsigned char)*c);
    printf("\"}\n");
}

int main(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "c:n:t:w:p:e:T:b:y:")) >= 0)
        switch (option) {
        case 'c': connections = atoi(optarg); break;
        case 'n': requests = strtoull(optarg, NULL, 10); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warm = atof(optarg); break;
        case 'p': path = optarg; break;
        case 'e': expect = optarg; break;
        case 'b': body = optarg; break;
        case 'y': type = optarg; break;
        case 'T': timeout = atoi(optarg); break;
        default: optind = argc;
        }
    if (optind != argc - 1 || !connections || connections > MAX_CONNECTIONS) {
        fputs("usage: httpload [-c CONNECTIONS] [-n REQUESTS | -t SECONDS] [-w SECONDS] [-p PATH] [-e TEXT] [-T SECONDS] "
              "[-b TEXT [-y TYPE]] unix:/path | host:port\n", stderr);
        return 2;
    }
    address = argv[optind];
    resolve(address);
    signal(SIGPIPE, SIG_IGN);
    int length = snprintf(request, sizeof request,
             "%s %s HTTP/1.1\r\nHost: console.example.org\r\n"
             "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
             "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
             "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
             "Cookie: session=8b1a9953c4611296a827abf8c47804d7; theme=dark\r\n",
             body ? "POST" : "GET", path);
    if (body)
        length += snprintf(request + length, sizeof request - length,
                           "Origin: http://console.example.org\r\nSec-Fetch-Site: same-origin\r\n"
                           "Content-Type: %s\r\nContent-Length: %zu\r\n", type, strlen(body));
    snprintf(request + length, sizeof request - length, "\r\n%s", body ? body : "");
    poller = epoll_create1(EPOLL_CLOEXEC);
    run();
    return errors ? 1 : 0;
}
