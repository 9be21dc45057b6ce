"""flup's servers under flup's names: fcgi, fcgi_fork, fcgi_single, cgi, and fcgi_base with what they share."""
