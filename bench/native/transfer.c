/* One large body through a FastCGI server, up or down, each byte checked where this side sees it.
 *
 *     transfer -u BYTES | -d BYTES [-p PATH] [-s STRIDE] [-T SECONDS] unix:/path | host:port
 *
 * -u sends a POST whose body is the pattern of shared.h, so many bytes; -d sends a GET whose answer has to be that pattern,
 * so many bytes. QUERY_STRING is size=BYTES&stride=STRIDE, PATH_INFO is PATH. One connection, one request; it reads while it writes, so a
 * server that answers early does not block it. The answer to -u is printed as "answer" for the caller to check. One JSON
 * object on standard output; 1 where an answer was wrong.
 */
#define _GNU_SOURCE
#include "shared.h"
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum { READ_SIZE = 262144, MAX_HEAD = 8192, RECORDS = 15, CONTENT = 65528 };

static unsigned char *pattern, input[READ_SIZE + MAX_CONTENT + 256 + HEADER], start[8192];
static size_t start_length, start_sent, have, head_length;
static uint64_t upload, download, sent, body_length; /* sent: bytes of the STDIN stream, headers and all */
static char head[MAX_HEAD], answer[256], wrong[256];
static int in_body, ended, protocol_status = -1, stride = 4093;
static unsigned app_status;

static void note_wrong(const char *format, ...)
{
    va_list arguments;
    if (*wrong)
        return;
    va_start(arguments, format);
    vsnprintf(wrong, sizeof wrong, format, arguments);
    va_end(arguments);
}

static void build_start(const char *path)
{
    unsigned char *out = start, *pairs;
    char length[32], query[64];
    size_t at = 0;
    snprintf(length, sizeof length, "%llu", (unsigned long long)upload);
    snprintf(query, sizeof query, "size=%llu&stride=%d", (unsigned long long)(upload ? upload : download), stride);
    put_header(out, BEGIN_REQUEST, 8);
    memcpy(out + HEADER, "\0\1\0\0\0\0\0\0", 8);
    pairs = out + HEADER + 8 + HEADER;
    for (int i = 0; i < PARAMETERS; i++) {
        const char *name = parameters[i][0], *value = parameters[i][1];
        if (!strcmp(name, "QUERY_STRING"))
            value = query;
        else if (!strcmp(name, "REQUEST_METHOD"))
            value = upload ? "POST" : "GET";
        else if (!strcmp(name, "CONTENT_LENGTH"))
            value = length;
        else if (!strcmp(name, "PATH_INFO"))
            value = path;
        at += put_pair(pairs + at, name, value);
    }
    put_header(out + HEADER + 8, PARAMS, at);
    put_header(pairs + at, PARAMS, 0);
    start_length = pairs + at + HEADER - out;
}

/* ---- the body upwards: records of CONTENT bytes, several in one writev, from the pattern itself */

static uint64_t stream_length(void)
{
    uint64_t records = (upload + CONTENT - 1) / CONTENT;
    return upload + (records + 1) * HEADER; /* the last one is empty and ends the stream */
}

/* Send on from byte `sent` of the STDIN stream. */
static ssize_t send_body(int fd)
{
    static unsigned char headers[RECORDS + 1][HEADER];
    struct iovec parts[2 * (RECORDS + 1)];
    int count = 0;
    uint64_t record = sent / (HEADER + CONTENT), within = sent % (HEADER + CONTENT);
    for (int i = 0; i < RECORDS; i++, record++) {
        uint64_t at = record * CONTENT;
        if (at > upload + CONTENT - 1)
            break;
        unsigned content = at >= upload ? 0 : upload - at < CONTENT ? upload - at : CONTENT;
        put_header(headers[i], STDIN, content);
        if (within < HEADER) {
            parts[count++] = (struct iovec){headers[i] + within, HEADER - within};
            within = 0;
        } else
            within -= HEADER;
        if (content > within)
            parts[count++] = (struct iovec){pattern + (at + within) % PERIOD, content - within};
        within = 0;
        if (!content)
            break;
    }
    return writev(fd, parts, count);
}

/* ---- the answer */

static void check_body(const unsigned char *data, size_t length)
{
    if (upload) {
        for (size_t i = 0; i < length && body_length + i < sizeof answer - 1; i++)
            answer[body_length + i] = data[i];
    } else if (body_length + length > download)
        note_wrong("the body is longer than %llu bytes", (unsigned long long)download);
    else
        for (size_t done = 0; done < length;) {
            size_t piece = length - done < PERIOD ? length - done : PERIOD;
            if (memcmp(data + done, pattern + (body_length + done) % PERIOD, piece))
                note_wrong("wrong bytes after byte %llu of the body", (unsigned long long)(body_length + done));
            done += piece;
        }
    body_length += length;
}

static void on_stdout(const unsigned char *data, size_t length)
{
    while (!in_body && length) {
        if (head_length >= MAX_HEAD - 1) {
            note_wrong("the head of the answer is longer than %d bytes", MAX_HEAD);
            return;
        }
        head[head_length++] = *data++;
        length--;
        size_t at = head_length;
        if (at >= 2 && head[at - 1] == '\n' && (head[at - 2] == '\n' || (at >= 4 && head[at - 3] == '\n'))) {
            in_body = 1;
            const char *status = strcasestr(head, "status:");
            if (status && strncmp(status + 7 + strspn(status + 7, " "), "200", 3))
                note_wrong("status is not 200: %.60s", status);
        }
    }
    if (length)
        check_body(data, length);
}

static void take_records(void)
{
    size_t at = 0;
    while (!ended && have - at >= HEADER) {
        unsigned content = input[at + 4] << 8 | input[at + 5], padding = input[at + 6];
        if (have - at < HEADER + content + padding)
            break;
        const unsigned char *data = input + at + HEADER;
        if (input[at + 1] == STDOUT)
            on_stdout(data, content);
        else if (input[at + 1] == END_REQUEST && content == 8) {
            app_status = (unsigned)data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3];
            protocol_status = data[4];
            ended = 1;
        } else if (input[at + 1] != STDERR)
            note_wrong("a record of type %d", input[at + 1]);
        at += HEADER + content + padding;
    }
    have -= at;
    memmove(input, input + at, have);
}

static void judge(void)
{
    if (!ended)
        note_wrong("the server closed the connection within the answer");
    else if (protocol_status || app_status)
        note_wrong("END_REQUEST with protocolStatus %d and appStatus %u", protocol_status, app_status);
    if (!in_body)
        note_wrong("the answer ended before its head");
    else if (!upload && body_length != download)
        note_wrong("the body has %llu bytes instead of %llu", (unsigned long long)body_length, (unsigned long long)download);
}

static void run(int fd, int timeout)
{
    uint64_t whole = upload ? stream_length() : HEADER;
    int sending = 1;
    while (!ended) {
        struct pollfd watched = {fd, POLLIN | (sending ? POLLOUT : 0), 0};
        int ready = poll(&watched, 1, timeout * 1000);
        if (ready == 0) {
            note_wrong("nothing moved for %d s", timeout);
            return;
        }
        if (ready < 0)
            die("poll");
        if (watched.revents & POLLOUT) {
            ssize_t done = start_sent < start_length ? write(fd, start + start_sent, start_length - start_sent) : send_body(fd);
            if (done < 0 && errno != EAGAIN) {
                if (errno != EPIPE && errno != ECONNRESET)
                    die("write");
                sending = 0; /* what the server has said before is read, and judged */
            } else if (done > 0 && start_sent < start_length)
                start_sent += done;
            else if (done > 0)
                sent += done;
            if (sent == whole)
                sending = 0;
        }
        if (watched.revents & (POLLIN | POLLHUP | POLLERR)) {
            ssize_t got = read(fd, input + have, READ_SIZE);
            if (got < 0 && errno == EAGAIN)
                continue;
            if (got <= 0)
                return;
            have += got;
            take_records();
        }
    }
}

static void print_text(const char *name, const char *text)
{
    printf(", \"%s\": \"", name);
    for (const char *c = text; *c; c++)
        printf(*c == '"' || *c == '\\' ? "\\%c" : *c < ' ' || *c > '~' ? "\\u%04x" : "%c", (unsigned char)*c);
    putchar('"');
}

int main(int argc, char **argv)
{
    const char *path = "/";
    int option, timeout = 60;
    while ((option = getopt(argc, argv, "u:d:p:s:T:")) >= 0)
        switch (option) {
        case 'u': upload = strtoull(optarg, NULL, 10); break;
        case 'd': download = strtoull(optarg, NULL, 10); break;
        case 'p': path = optarg; break;
        case 's': stride = atoi(optarg); break;
        case 'T': timeout = atoi(optarg); break;
        default: optind = argc;
        }
    if (optind != argc - 1 || !upload == !download || strlen(path) > 100) {
        fputs("usage: transfer -u BYTES | -d BYTES [-p PATH] [-s STRIDE] [-T SECONDS] unix:/path | host:port\n", stderr);
        return 2;
    }
    resolve(argv[optind]);
    pattern = make_pattern();
    build_start(path);
    int fd = socket(target.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint64_t began = now();
    if (fd < 0 || connect(fd, (struct sockaddr *)&target, target_length) < 0)
        die(argv[optind]);
    int on = 1;
    if (ioctl(fd, FIONBIO, &on) < 0)
        die("ioctl");
    signal(SIGPIPE, SIG_IGN);
    run(fd, timeout);
    uint64_t took = now() - began;
    judge();
    printf("{\"bytes\": %llu, \"seconds\": %.6f", (unsigned long long)(upload ? upload : body_length), took / 1e9);
    print_text("answer", answer);
    print_text("error", wrong);
    puts("}");
    return *wrong ? 1 : 0;
}
