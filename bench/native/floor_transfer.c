/* The floor of large bodies: the least that a FastCGI responder on Linux can do to take a body and to send one.
 *
 *     floor_transfer unix:/path
 *
 * One blocking process, one connection at a time. /upload walks record headers in what it reads and samples the bytes as
 * bench/transfers.py does; /file sends the file that FASTCORE_BENCH_FILE names by sendfile(2), a record at a time;
 * anything else writes the pattern of shared.h in full records, with one writev for many of them. It
 * checks nothing else, keeps no body and runs no application.
 */
#define _GNU_SOURCE
#include "shared.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOM = 262144, CONTENT = 65528, RECORDS = 15, PAGES = 15 * 4096 /* at once through sendfile's pipe */ };

static unsigned char input[ROOM], *pattern;

static void send_all(int fd, const void *data, size_t length)
{
    while (length) {
        ssize_t sent = write(fd, data, length);
        if (sent <= 0)
            return;
        data = (const char *)data + sent;
        length -= sent;
    }
}

static void send_end(int fd, const char *text)
{
    unsigned char out[512];
    size_t length = strlen(text);
    put_header(out, STDOUT, length);
    memcpy(out + HEADER, text, length);
    put_header(out + HEADER + length, END_REQUEST, 8);
    memset(out + 2 * HEADER + length, 0, 8);
    send_all(fd, out, 3 * HEADER + length);
}

static void send_head(int fd, uint64_t size)
{
    unsigned char head[256];
    int length = snprintf((char *)head + HEADER, sizeof head - HEADER,
                          "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)size);
    put_header(head, STDOUT, length);
    send_all(fd, head, HEADER + length);
}

static void send_file(int fd, uint64_t size)
{
    const char *path = getenv("FASTCORE_BENCH_FILE");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0)
        return;
    send_head(fd, size);
    for (off_t at = 0; (uint64_t)at < size;) {
        unsigned char header[HEADER];
        unsigned left = size - at < PAGES ? size - at : PAGES;
        put_header(header, STDOUT, left);
        send_all(fd, header, HEADER);
        while (left) {
            ssize_t sent = sendfile(fd, file, &at, left);
            if (sent <= 0)
                goto end;
            left -= sent;
        }
    }
    send_end(fd, "");
end:
    close(file);
}

static void download(int fd, uint64_t size)
{
    unsigned char headers[RECORDS][HEADER];
    send_head(fd, size);
    for (uint64_t at = 0; at < size;) {
        struct iovec parts[2 * RECORDS];
        int count = 0;
        for (int i = 0; i < RECORDS && at < size; i++) {
            unsigned content = size - at < CONTENT ? size - at : CONTENT;
            put_header(headers[i], STDOUT, content);
            parts[count++] = (struct iovec){headers[i], HEADER};
            parts[count++] = (struct iovec){pattern + at % PERIOD, content};
            at += content;
        }
        for (int i = 0; i < count;) {
            ssize_t sent = writev(fd, parts + i, count - i);
            if (sent <= 0)
                return;
            while (i < count && (size_t)sent >= parts[i].iov_len)
                sent -= parts[i++].iov_len;
            if (i < count) {
                parts[i].iov_base = (char *)parts[i].iov_base + sent;
                parts[i].iov_len -= sent;
            }
        }
    }
    send_end(fd, "");
}

/* Read on from the bytes that came after PARAMS until the empty STDIN record. */
static void upload(int fd, size_t at, size_t have, unsigned stride)
{
    uint64_t length = 0, next = 0; /* of the body; the place of the next sample */
    uint32_t low = 1, high = 0;
    unsigned char header[HEADER];
    unsigned known = 0, content = 0, padding = 0;
    for (;;) {
        if (at == have) {
            ssize_t got = read(fd, input, ROOM);
            if (got <= 0)
                return;
            at = 0;
            have = got;
        }
        if (content) {
            size_t piece = have - at < content ? have - at : content;
            for (; next < length + piece; next += stride) {
                low = (low + input[at + (next - length)]) % 65521;
                high = (high + low) % 65521;
            }
            length += piece;
            content -= piece;
            at += piece;
        } else if (padding) {
            size_t piece = have - at < padding ? have - at : padding;
            padding -= piece;
            at += piece;
        } else {
            header[known++] = input[at++];
            if (known == HEADER) {
                known = 0;
                content = header[4] << 8 | header[5];
                padding = header[6];
                if (header[1] == STDIN && !content)
                    break;
            }
        }
    }
    char text[128];
    snprintf(text, sizeof text, "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n%llu %u\n", (unsigned long long)length,
             high << 16 | low);
    send_end(fd, text);
}

/* One request: its PARAMS are searched as they are, for what bench/native/transfer.c puts there. */
static void serve(int fd)
{
    size_t have = 0, at = 0;
    for (;;) {
        ssize_t got = read(fd, input + have, ROOM - have);
        if (got <= 0)
            return;
        have += got;
        for (at = 0; have - at >= HEADER;) {
            unsigned content = input[at + 4] << 8 | input[at + 5], step = HEADER + content + input[at + 6];
            if (have - at < step)
                break;
            at += step;
            if (input[at - step + 1] == PARAMS && !content)
                goto complete;
        }
    }
complete:;
    unsigned long long size = 0;
    unsigned stride = 1;
    const char *query = memmem(input, at, "size=", 5);
    char copy[64] = "";
    if (query)
        memcpy(copy, query, sizeof copy - 1);
    if (sscanf(copy, "size=%llu&stride=%u", &size, &stride) != 2 || !stride)
        return;
    if (memmem(input, at, "/upload", 7))
        upload(fd, at, have, stride);
    else if (memmem(input, at, "/file", 5))
        send_file(fd, size);
    else
        download(fd, size);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: floor_transfer unix:/path\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    pattern = make_pattern();
    resolve(argv[1]);
    int listener = socket(target.ss_family, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&target, target_length) < 0 || listen(listener, 100) < 0)
        die(argv[1]);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            serve(fd);
            close(fd);
        }
    }
}
