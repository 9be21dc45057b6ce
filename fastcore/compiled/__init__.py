"""The compiled modules. Each has a twin of the same name in fastcore.pure, which is its specification."""
