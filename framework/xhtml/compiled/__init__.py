"""The compiled modules. Each has a twin of the same name in framework.xhtml.pure, which is its specification."""
