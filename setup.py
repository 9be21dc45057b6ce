"""The extension modules and the switches of their build; all else is in pyproject.toml.

    FASTCORE_NO_EXTENSIONS=1       build none: the pure twin runs
    FASTCORE_REQUIRE_COMPILED=1    fail where they cannot be built, instead of warning once
    FASTCORE_DEBUG=1               no optimisation, debug symbols, assertions
    FASTCORE_SANITIZE=1            AddressSanitizer and UndefinedBehaviorSanitizer
    FASTCORE_FUZZ=1                these, and coverage for libFuzzer (with CC=clang; see scripts/fuzz.sh)

The modules are built all or none, so that the two twins are never mixed.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


def switched(name):
    return os.environ.get(name, "") not in ("", "0")


FLAVOURS = {"fuzz": "FASTCORE_FUZZ", "sanitize": "FASTCORE_SANITIZE", "debug": "FASTCORE_DEBUG"}
FLAVOUR = next((flavour for flavour, name in FLAVOURS.items() if switched(name)), "release")
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
# What Cython generates adds 0 to null pointers, which clang reports and gcc does not.
FUZZ = [*SANITIZERS, "-fno-sanitize=pointer-overflow", "-fsanitize=fuzzer-no-link"]
# Errors from gcc 14 on, whatever older ones say.
STRICT = ["-Werror=incompatible-pointer-types", "-Werror=int-conversion", "-Werror=implicit-function-declaration"]
# The release has no unwind tables, which cost every process memory: C backtraces are for the debug flavour.
COMPILE_FLAGS = {
    "fuzz": ["-O1", "-gline-tables-only", "-UNDEBUG", *FUZZ],
    "sanitize": ["-O1", "-g", "-UNDEBUG", *STRICT, *SANITIZERS],
    "debug": ["-O0", "-g3", "-UNDEBUG", *STRICT],
    "release": ["-O2", "-fno-plt", "-fvisibility=hidden", "-fno-asynchronous-unwind-tables"],
}
# Small modules: a part of its own for each kind of content costs them more pages than it is worth.
LINK_FLAGS = {"sanitize": SANITIZERS, "fuzz": FUZZ, "release": ["-Wl,-z,noseparate-code"]}
# Without pickling and without Python functions' attributes a module has a third less code, which every process has in
# memory.
DIRECTIVES = {"language_level": 3, "embedsignature": True, "auto_pickle": False, "binding": False}


class BuildAllOrNone(build_ext):
    """`build_ext` that translates with Cython first, and where anything fails says so once and builds nothing."""

    def run(self):
        try:
            from Cython.Build import cythonize

            translated = cythonize(
                self.extensions,
                build_dir=f"build/cython-{FLAVOUR}",
                compiler_directives=DIRECTIVES,
                force=bool(self.force),
                quiet=True,
            )
            sources = {extension.name: extension.sources for extension in translated}
            for extension in self.extensions:
                extension.sources = sources[extension.name]
            super().run()
        except (Exception, SystemExit) as error:
            if switched("FASTCORE_REQUIRE_COMPILED"):
                raise
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = []
            print(
                f"WARNING: fastcore's compiled modules could not be built ({type(error).__name__}: {error}).\n"
                "         The pure-Python twin will run: same behaviour, slower. For the compiled ones install a C\n"
                "         compiler and Python's headers (Debian: apt-get install gcc python3-dev), then install again.",
                file=sys.stderr,
            )


EXTENSIONS = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [path.as_posix()],
        extra_compile_args=COMPILE_FLAGS[FLAVOUR],
        extra_link_args=LINK_FLAGS.get(FLAVOUR, []),
    )
    for directory in ("fastcore/compiled", "framework/xhtml/compiled")
    for path in sorted(Path(directory).glob("*.pyx"))
]

setup(
    ext_modules=[] if switched("FASTCORE_NO_EXTENSIONS") else EXTENSIONS,
    cmdclass={"build_ext": BuildAllOrNone},
)
