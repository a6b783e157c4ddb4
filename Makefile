# make demo, make test: on a machine with Python 3.11, a C++ compiler and make, these do all the setting up themselves.

VENV      := .venv
TORCHLESS := build/torchless
PYTHON    := $(VENV)/bin/python

# --no-compile: Python compiles what is imported, a fraction of what pip would; a fresh install takes half the time.
INSTALL := -m pip --disable-pip-version-check --quiet install --no-compile -c constraints.txt

INSTALLED := $(VENV)/.installed
BUILT     := $(VENV)/.built
DEV_TOOLS := $(VENV)/.dev-tools
PEERS     := $(VENV)/.peers

KERNELS    := $(wildcard csrc/*.cpp csrc/*.h)
CPP        := $(KERNELS) $(wildcard tests/csrc/walk/*)
BENCH_ARGS ?=
TEST_ARGS  ?=

WORKERS    ?= 2 # test processes, of one thread each (tests/conftest.py)

.PHONY: demo test torchless lint bench format sanitize clean

demo: $(BUILT)
	$(VENV)/bin/intsim demo

test: $(BUILT)
	$(PYTHON) -m pytest -n $(WORKERS) --dist worksteal $(TEST_ARGS)

# What needs no PyTorch, where there is none. Only files that hold such a test are collected: others import torch.
torchless: $(TORCHLESS)/.installed $(BUILT)
	$(TORCHLESS)/bin/python -m pytest -m torchless $$(grep -rl --include='test_*.py' 'mark\.torchless' tests)

lint: $(DEV_TOOLS)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(if $(CPP),$(VENV)/bin/clang-format --dry-run -Werror $(CPP))

format: $(DEV_TOOLS)
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format
	$(if $(CPP),$(VENV)/bin/clang-format -i $(CPP))

bench: $(BUILT) $(PEERS)
	$(PYTHON) -m pytest bench -o python_files='*.py' --benchmark-enable -p no:xdist $(BENCH_ARGS)

# The kernels' own tests under the address and undefined-behaviour sanitizers; the next build puts the plain ones back.
sanitize: $(BUILT)
	rm $(BUILT)
	INTSIM_SANITIZE=1 $(PYTHON) setup.py --quiet build_ext --inplace --force
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 $(PYTHON) -m pytest -n $(WORKERS) --dist worksteal -k native $(TEST_ARGS)

clean:
	rm -rf $(VENV) build demo-out *.egg-info intsim/*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find $(wildcard intsim tests bench) -name __pycache__ -prune -exec rm -rf {} +

# --- setting up: each stamp is newer than what it was made from -------------------------------------------------------

# The first Python that answers and is new enough (a shim named python3.11 may stand there and answer nothing).
define make_environment
	@for candidate in python3.11 python3; do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$candidate -m venv $(1) && exit; rm -rf $(1); exit 1; \
	  fi; \
	done; echo "intsim needs Python 3.11 or newer: neither python3.11 nor python3 is one here; install it" >&2; exit 1
endef

$(VENV)/pyvenv.cfg:
	$(call make_environment,$(VENV))

$(TORCHLESS)/pyvenv.cfg:
	$(call make_environment,$(TORCHLESS))

# The build tools come first and pinned: with build isolation pip would fetch others on every build.
$(INSTALLED): pyproject.toml constraints.txt $(VENV)/pyvenv.cfg
	$(PYTHON) $(INSTALL) setuptools pybind11
	$(PYTHON) $(INSTALL) --no-build-isolation -e '.[torch,test]'
	touch $@

$(TORCHLESS)/.installed: pyproject.toml constraints.txt $(BUILT) $(TORCHLESS)/pyvenv.cfg
	$(TORCHLESS)/bin/python $(INSTALL) setuptools pybind11
	$(TORCHLESS)/bin/python $(INSTALL) --no-build-isolation -e '.[test]'
	touch $@

# Compiles the files that changed and always links: what lies there may be the sanitizers' build.
$(BUILT): setup.py $(KERNELS) $(INSTALLED)
	$(PYTHON) setup.py --quiet build_ext --inplace --force
	touch $@

$(DEV_TOOLS): $(INSTALLED)
	$(PYTHON) $(INSTALL) --no-build-isolation -e '.[dev]'
	touch $@

$(PEERS): $(INSTALLED)
	$(PYTHON) $(INSTALL) --no-build-isolation -e '.[bench]'
	touch $@
