"""The readable specification: pure-Python twins of the modules in framework.xhtml.compiled."""
