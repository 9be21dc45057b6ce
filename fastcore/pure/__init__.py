"""The readable specification: pure-Python twins of the modules in fastcore.compiled, same names, same behaviour."""
