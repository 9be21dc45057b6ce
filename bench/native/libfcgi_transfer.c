/* Large bodies on libfcgi, the C library of the FastCGI reference implementation, as bench/applications.py has them:
 * /upload counts what it reads and samples it, /download writes the pattern of shared.h in blocks.
 */
#include "shared.h"
#include <fcgiapp.h>

/* RFC 1950's Adler-32 of every stride-th byte. */
static void upload(FCGX_Request *request, unsigned stride)
{
    static char block[BLOCK];
    uint64_t length = 0;
    uint32_t low = 1, high = 0;
    int got;
    while ((got = FCGX_GetStr(block, sizeof block, request->in)) > 0) {
        for (uint64_t at = (stride - length % stride) % stride; at < (uint64_t)got; at += stride) {
            low = (low + (unsigned char)block[at]) % 65521;
            high = (high + low) % 65521;
        }
        length += got;
    }
    FCGX_FPrintF(request->out, "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    snprintf(block, sizeof block, "%llu %u\n", (unsigned long long)length, high << 16 | low);
    FCGX_PutS(block, request->out);
}

static void download(FCGX_Request *request, const unsigned char *pattern, uint64_t size)
{
    char head[100];
    snprintf(head, sizeof head, "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %llu\r\n\r\n",
             (unsigned long long)size);
    FCGX_PutS(head, request->out);
    for (uint64_t at = 0; at < size; at += BLOCK)
        if (FCGX_PutStr((const char *)pattern + at % PERIOD, size - at < BLOCK ? size - at : BLOCK, request->out) < 0)
            return;
}

int main(void)
{
    unsigned char *pattern = make_pattern();
    FCGX_Request request;
    FCGX_Init();
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        const char *query = FCGX_GetParam("QUERY_STRING", request.envp), *path = FCGX_GetParam("PATH_INFO", request.envp);
        unsigned long long size = 0;
        unsigned stride = 0;
        if (!path || !query || sscanf(query, "size=%llu&stride=%u", &size, &stride) != 2 || !stride)
            FCGX_FPrintF(request.out, "Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n");
        else if (!strcmp(path, "/upload"))
            upload(&request, stride);
        else
            download(&request, pattern, size);
    }
    return 0;
}
