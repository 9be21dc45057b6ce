# Every target sets up what it needs: Debian packages by apt where it is root and they are missing (no service of theirs is
# started or enabled), a virtual environment in .venv, the compiled modules in place. All of it is quick when it is there.
#
#   make demo PORT=9000           make test PYTEST_ARGS="tests/unit -k router"           make test PYTHON=/usr/bin/python3.12

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV ?= .venv
PORT ?= 8080
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?=
LEAK_REQUESTS ?= 1000000
SOAK_SECONDS ?= 900
export PYTHON

PYTEST = $(VENV)/bin/python -m pytest
PACKAGES = scripts/debian-packages.sh
SANITIZED = build/sanitized

.PHONY: help
help: ## this list
	@echo "make TARGET, one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  %-22s%s\n' $$name "$$text"; done
	@echo "Settings: PORT=$(PORT) VENV=$(VENV) PYTHON=(found) PYTEST_ARGS= FUZZ_SECONDS=$(FUZZ_SECONDS); see CONTRIBUTING.md"

# Debian's python3 is completed only where no interpreter of this machine will do.
.PHONY: python
python:
	@[ -x $(VENV)/bin/python ] || [ -n "$(PYTHON)" ] || scripts/find-python.sh --complete || $(PACKAGES) python

.PHONY: build
build: python ## the virtual environment with the compiled modules
	@$(PACKAGES) compiler
	@scripts/environment.sh $(VENV) dev

.PHONY: tools
tools: python
	@$(PACKAGES) compiler
	@scripts/environment.sh $(VENV) test

.PHONY: demo
demo: build ## the demo site on http://127.0.0.1:8080/ (PORT=…), in the foreground
	@$(PACKAGES) lighttpd
	@exec scripts/demo.sh $(VENV) $(PORT)

.PHONY: test
test: tools ## all tests
	@$(PACKAGES) lighttpd nginx haproxy apache caddy h2o libfcgi php openssl browser node npm java
	@$(PYTEST) $(PYTEST_ARGS)

.PHONY: test-pure
test-pure: tools ## all tests on the pure-Python twin alone
	@$(PACKAGES) lighttpd nginx haproxy apache caddy h2o libfcgi php openssl browser node npm java
	@FASTCORE_PURE=1 $(PYTEST) $(PYTEST_ARGS)

.PHONY: test-all
test-all: ## all tests on Python 3.11, 3.12 and 3.13, those that are here
	@scripts/test-all.sh "$(MAKE)" $(PYTEST_ARGS)

.PHONY: lint
lint: tools ## ruff, mypy, and the syntax of the shell scripts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@for script in scripts/*.sh .ci/run; do bash -n $$script || exit 1; done

.PHONY: bench
bench: python ## benchmarks beside other servers; writes bench/results and docs/benchmarks.md (BENCH_ARGS=--quick)
	@$(PACKAGES) compiler libfcgi libev nginx lighttpd valgrind
	@scripts/environment.sh $(VENV) bench
	@$(VENV)/bin/python bench/run.py $(BENCH_ARGS)

.PHONY: footprint
footprint: tools ## start, memory and idleness of the whole demo beside Flask and PHP (root); writes docs/benchmarks.md
	@$(PACKAGES) lighttpd nginx php
	@$(VENV)/bin/python bench/footprint.py $(BENCH_ARGS)

.PHONY: bench-instructions
bench-instructions: tools ## instructions per request and per match, compared with the kept ones: more than 3 % fails
	@$(PACKAGES) valgrind
	@$(VENV)/bin/python bench/instructions.py $(BENCH_ARGS)
	@$(VENV)/bin/python bench/router.py --check

.PHONY: fuzz
fuzz: tools ## coverage-guided and random input for both twins for FUZZ_SECONDS (FUZZ_TARGETS="connection router")
	@$(PACKAGES) clang
	@scripts/fuzz.sh $(VENV) $(FUZZ_SECONDS) $(FUZZ_TARGETS)

.PHONY: soak-fastcore
soak-fastcore: tools ## LEAK_REQUESTS requests of every kind: memory, descriptors and objects stay as they were
	@FASTCORE_LEAK_REQUESTS=$(LEAK_REQUESTS) $(PYTEST) -q -s tests/fuzz/test_leaks.py $(PYTEST_ARGS)

.PHONY: soak
soak: tools ## every fault of a running site, SOAK_SECONDS behind each front end (root); writes docs/faults.md
	@$(PACKAGES) lighttpd nginx
	@$(VENV)/bin/python scripts/soak.py $(SOAK_SECONDS)

.PHONY: sanitize
sanitize: tools ## the tests of fastcore with AddressSanitizer and UndefinedBehaviorSanitizer in the compiled modules
	@scripts/sanitize.sh $(VENV) $(SANITIZED) $(PYTEST_ARGS)

.PHONY: conformance
conformance: tools ## the numbered tests of the checklist on both twins; writes docs/conformance.md
	@$(PACKAGES) lighttpd nginx haproxy apache caddy h2o libfcgi
	@$(VENV)/bin/python scripts/conformance.py $(PYTEST_ARGS)

.PHONY: clean
clean: ## remove what was built and cached; the virtual environments stay (make distclean takes them too)
	@rm -rf build dist .make .artifacts .hypothesis .mypy_cache .pytest_cache .ruff_cache bench/native/build *.egg-info
	@rm -f {fastcore,framework/xhtml}/compiled/*.{so,c,html} .venv*/.stamp-built
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean
	@rm -rf .venv .venv-*
