/* What the load generators share: record types, a web server's parameters, the pattern of large bodies, addresses. */
#ifndef BENCH_SHARED_H
#define BENCH_SHARED_H
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, STDERR = 7 };
enum { HEADER = 8, MAX_CONTENT = 65535 };

/* A web server's parameters for a page request: what nginx's fastcgi_params and a browser's headers come to. */
static const char *const parameters[][2] = {
    {"QUERY_STRING", "view=compact&since=1700000000"},
    {"REQUEST_METHOD", NULL},
    {"CONTENT_TYPE", ""},
    {"CONTENT_LENGTH", NULL},
    {"SCRIPT_NAME", "/status"},
    {"PATH_INFO", "/disks/sda"},
    {"REQUEST_URI", "/status/disks/sda?view=compact&since=1700000000"},
    {"DOCUMENT_URI", "/status/disks/sda"},
    {"DOCUMENT_ROOT", "/srv/www/appliance/htdocs"},
    {"SERVER_PROTOCOL", "HTTP/1.1"},
    {"REQUEST_SCHEME", "https"},
    {"HTTPS", "on"},
    {"GATEWAY_INTERFACE", "CGI/1.1"},
    {"SERVER_SOFTWARE", "nginx/1.22.1"},
    {"REMOTE_ADDR", "192.168.178.31"},
    {"REMOTE_PORT", "51724"},
    {"SERVER_ADDR", "192.168.178.2"},
    {"SERVER_PORT", "443"},
    {"SERVER_NAME", "console.example.org"},
    {"REDIRECT_STATUS", "200"},
    {"HTTP_HOST", "console.example.org"},
    {"HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"},
    {"HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
    {"HTTP_ACCEPT_LANGUAGE", "en-GB,en;q=0.7,de;q=0.3"},
    {"HTTP_ACCEPT_ENCODING", "gzip, deflate, br, zstd"},
    {"HTTP_COOKIE", "session=8b1a9953c4611296a827abf8c47804d7; theme=dark"},
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

static inline uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline size_t put_pair(unsigned char *out, const char *name, const char *value)
{
    size_t names = strlen(name), values = strlen(value); /* all below 128: the short form of a length */
    out[0] = names;
    out[1] = values;
    memcpy(out + 2, name, names);
    memcpy(out + 2 + names, value, values);
    return 2 + names + values;
}

static inline void put_header(unsigned char *out, int type, unsigned content)
{
    unsigned char header[HEADER] = {1, type, 0, 1, content >> 8, content & 255, 0, 0};
    memcpy(out, header, HEADER);
}

static struct sockaddr_storage target;
static socklen_t target_length;

static inline void resolve(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un *name = (struct sockaddr_un *)&target;
        name->sun_family = AF_UNIX;
        if (strlen(address + 5) >= sizeof name->sun_path)
            die("path too long");
        strcpy(name->sun_path, address + 5);
        target_length = sizeof *name;
        return;
    }
    struct sockaddr_in *name = (struct sockaddr_in *)&target;
    const char *colon = strrchr(address, ':');
    char host[64] = "";
    if (colon && (size_t)(colon - address) < sizeof host)
        memcpy(host, address, colon - address);
    name->sin_family = AF_INET;
    if (!colon || inet_pton(AF_INET, host, &name->sin_addr) != 1) {
        fprintf(stderr, "%s is neither unix:/path nor a numeric host:port\n", address);
        exit(2);
    }
    name->sin_port = htons(atoi(colon + 1));
    target_length = sizeof *name;
}

/* ---- the pattern of large bodies: byte i of a body is pattern[i % PERIOD]; bench/applications.py makes the same */

enum { BLOCK = 65536, PERIOD = 17 * BLOCK };

/* The pattern twice, so that a piece of up to PERIOD bytes is whole from any place in the first. */
static inline unsigned char *make_pattern(void)
{
    unsigned char *pattern = malloc(2 * PERIOD);
    uint32_t state = 1;
    if (!pattern)
        die("malloc");
    for (int i = 0; i < PERIOD; i++) {
        state = state * 1664525u + 1013904223u; /* a linear congruential generator: any language does it in a line */
        pattern[i] = pattern[PERIOD + i] = state >> 24;
    }
    return pattern;
}
#endif
