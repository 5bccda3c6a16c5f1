# Everything from a fresh clone with only Python and make. Python 3.11 is tested; with a later one the
# installer chooses the versions of what seetell needs. To name yours: make demo PYTHON=python3.13
#   make demo      captions, answers and a search over sample photos (no torch)
#   make serve     the page in a browser, with the sample photos to search; PHOTOS=FOLDER for yours, PORT=8000
#   make test      style, types and the quick tests          make test-all   the slow ones too
#   make wheel     an sdist and the wheel built from it in dist/; it must pass `seetell demo` in an empty environment
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3),python3.11)
JOBS ?= 2
PORT ?= 8000
PHOTOS ?= src/seetell/samples
PIP_FLAGS ?= --quiet --disable-pip-version-check
# A package index that has torch's build for CPUs, for machines whose configured index has not: without
# it, and where there is no such build, torch comes with CUDA, which works too and is gigabytes larger.
TORCH_INDEX ?=
TORCH_FLAGS := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

VENV := .venv
DEMO_VENV := .venv-demo
BUILD_VENV := .venv-build
WHEEL_VENV := .venv-wheel
REQUIREMENTS := pyproject.toml constraints.txt
TEST_READY := $(VENV)/.ready
DEMO_READY := $(DEMO_VENV)/.ready
SERVE_READY := $(DEMO_VENV)/.ready-serve

# What constraints.txt pins was tried together, with Python 3.11.
PINS_IF_TESTED = $$($(1) -c 'import sys; print("-c constraints.txt" if sys.version_info[:2] == (3, 11) else "")')

# Says what is about to happen before it takes its time, and what to do where it cannot. $(1): what for. $(2): the
# room it takes.
define say_set_up
@command -v "$(PYTHON)" >/dev/null || { \
	echo "No $(PYTHON) here. seetell needs Python 3.11 or later; name yours: make $(1) PYTHON=python3" >&2; exit 1; }
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "$(PYTHON) is $$("$(PYTHON)" -V); seetell needs 3.11 or later: make $(1) PYTHON=python3.11" >&2; exit 1; }
@echo "Setting up $(DEMO_VENV) with $(PYTHON), $$("$(PYTHON)" -V). It takes about a minute and $(2), once."
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	echo "(Python 3.11 is what is tested; for this one the installer chooses the versions of the packages.)"
endef

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-all lint format wheel clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(DEMO_READY)
	@$(DEMO_VENV)/bin/seetell demo

serve: $(SERVE_READY)
	@$(DEMO_VENV)/bin/seetell index "$(PHOTOS)" --index $(DEMO_VENV)/photos.index
	@$(DEMO_VENV)/bin/seetell serve --index $(DEMO_VENV)/photos.index --port $(PORT) --open

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

# The wheel is built from the sdist and not from this clone, so that an sdist that lacks something is noticed. It is
# tried where nothing of this clone can be seen: its own environment, another folder.
wheel:
	rm -rf dist $(BUILD_VENV) $(WHEEL_VENV)
	"$(PYTHON)" -m venv $(BUILD_VENV)
	$(BUILD_VENV)/bin/python -m pip install $(PIP_FLAGS) build twine
	$(BUILD_VENV)/bin/python -m build --outdir dist .
	$(BUILD_VENV)/bin/python -m twine check --strict dist/*
	"$(PYTHON)" -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt dist/seetell-*.whl
	@if $(WHEEL_VENV)/bin/python -c "import torch" 2>/dev/null; then echo "torch came with the wheel" >&2; exit 1; fi
	cd $(WHEEL_VENV) && bin/seetell demo
	@ls -l dist

clean:
	rm -rf build dist $(DEMO_VENV) $(BUILD_VENV) $(WHEEL_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch is installed by itself first: on Linux `+cpu` names the small build, which an index or a local
# folder of wheels may hold; elsewhere, and when it is not found, the second line finds the right one.
$(TEST_READY): $(REQUIREMENTS)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt $(TORCH_FLAGS) "torch==2.13.0+cpu" 2>/dev/null \
		|| $(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt "torch==2.13.0"
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[train,compress,test,dev]"
	touch $@

$(DEMO_READY): $(REQUIREMENTS)
	$(call say_set_up,demo,370 MB (100 to download))
	@test -x $(DEMO_VENV)/bin/python || "$(PYTHON)" -m venv $(DEMO_VENV)
	@$(DEMO_VENV)/bin/python -m pip install $(PIP_FLAGS) $(call PINS_IF_TESTED,$(DEMO_VENV)/bin/python) -e .
	@touch $@

# The same environment, so that `make demo` and `make serve` take the room of one.
$(SERVE_READY): $(REQUIREMENTS)
	$(call say_set_up,serve,750 MB (236 to download))
	@test -x $(DEMO_VENV)/bin/python || "$(PYTHON)" -m venv $(DEMO_VENV)
	@$(DEMO_VENV)/bin/python -m pip install $(PIP_FLAGS) $(call PINS_IF_TESTED,$(DEMO_VENV)/bin/python) \
		-e ".[serve,search]"
	@touch $@ $(DEMO_READY)
