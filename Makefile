# Everything from a fresh clone with only Python 3.11 and make:
#   make demo      captions, answers and a search over sample photos (no torch)
#   make test      style, types and the quick tests          make test-all   the slow ones too
#   make wheel     one wheel in dist/, which must pass `seetell demo` in an empty environment
PYTHON ?= python3.11
JOBS ?= 2
PIP_FLAGS ?= --quiet --disable-pip-version-check
# A package index that has torch's build for CPUs, for machines whose configured index has not: without
# it, and where there is no such build, torch comes with CUDA, which works too and is gigabytes larger.
TORCH_INDEX ?=
TORCH_FLAGS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

VENV := .venv
DEMO_VENV := .venv-demo
WHEEL_VENV := .venv-wheel
REQUIREMENTS := pyproject.toml constraints.txt
TEST_READY := $(VENV)/.ready
DEMO_READY := $(DEMO_VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint format wheel clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(DEMO_READY)
	$(DEMO_VENV)/bin/seetell demo

test: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n $(JOBS) -m "not slow"

test-all: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n $(JOBS)

lint: $(TEST_READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(TEST_READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# The wheel is tried where nothing of this clone can be seen: its own environment, another folder.
wheel:
	rm -rf dist $(WHEEL_VENV)
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip wheel $(PIP_FLAGS) --no-deps --wheel-dir dist .
	$(WHEEL_VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt "$$(ls $(CURDIR)/dist/seetell-*.whl)[demo]"
	@if $(WHEEL_VENV)/bin/python -c "import torch" 2>/dev/null; then echo "torch came with the wheel" >&2; exit 1; fi
	cd $(WHEEL_VENV) && bin/seetell demo
	@ls -l dist

clean:
	rm -rf build dist $(DEMO_VENV) $(WHEEL_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch is installed by itself first: on Linux `+cpu` names the small build, which an index or a local
# folder of wheels may hold; elsewhere, and when it is not found, the second line finds the right one.
$(TEST_READY): $(REQUIREMENTS)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt $(TORCH_FLAGS) "torch==2.13.0+cpu" 2>/dev/null \
		|| $(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt "torch==2.13.0"
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[train,compress,test,dev]"
	touch $@

$(DEMO_READY): $(REQUIREMENTS)
	test -x $(DEMO_VENV)/bin/python || $(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[demo]"
	touch $@
