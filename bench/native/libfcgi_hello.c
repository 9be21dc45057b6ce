/* The constant page on libfcgi, the C library of the FastCGI reference implementation: one process, as its manual has it. */
#include <fcgiapp.h>

int main(void)
{
    FCGX_Request request;
    FCGX_Init();
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0)
        FCGX_FPrintF(request.out, "Status: 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                  "Content-Length: 14\r\n\r\nHello, world!\n");
    return 0;
}
