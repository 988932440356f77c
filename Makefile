# Needs python3 (3.10 or later) and, for the compiled part, a C++20 compiler. Everything else is installed by pip into .venv.
PYTHON ?= python3
TORCH ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --constraint constraints.txt
TORCH_REQUIREMENT := torch$(if $(TORCH),==$(TORCH))

# A stamp per finished installation step; the first carries the choice of PyTorch, so that another choice installs again.
TORCH_STAMP := $(VENV)/.torch-$(or $(TORCH),newest)
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
NATIVE_SOURCES := CMakeLists.txt setup.py $(shell find cmake csrc -type f)
FORMATTED = $(shell find csrc examples tests benchmarks -name '*.h' -o -name '*.hpp' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: help demo test lint mutate fuzz bench gpu clean
.DEFAULT_GOAL := help

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter and TORCH=2.11.0 the PyTorch (newest by default) that go into $(VENV)."

demo: $(INSTALLED) ## verify and time Inception-v3 on real photographs
	$(BIN)/python examples/demo.py

test: $(INSTALLED) ## run the tests (some 20 minutes on 2 cores; SLOW=1 for the long ones too)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --timeout 900 $(if $(SLOW),,-m "not slow")

lint: $(INSTALLED) ## ruff, mypy and clang-format; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(FORMATTED)

mutate: $(INSTALLED) ## change the source in one place at a time and name what no test notices (hours; ARGS="--sample 50")
	$(BIN)/python -m tests.mutation $(ARGS)

fuzz: $(INSTALLED) ## random networks, each that fails made as small as it can be (ARGS="--networks 5000 --isa avx2"; docs/architecture.md)
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(BENCH_INSTALLED) ## time every backend beside eager, torch.compile, ONNX Runtime and OpenVINO
	$(BIN)/inception-fast bench

gpu: $(INSTALLED) ## build for the GPU, check and measure, in 540 s (ARGS="--command 2" for the rest; docs/tuning-notes.md)
	$(BIN)/python -m benchmarks.gpu $(ARGS)

clean: ## remove what was built; the environment in .venv stays
	rm -rf build dist *.egg-info inception_fast/_native*.so inception_fast/_build_info.json
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f $(INSTALLED) $(BENCH_INSTALLED)

$(TORCH_STAMP): constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or later is needed, PYTHON=$(PYTHON) is " + sys.version if sys.version_info < (3, 10) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_REQUIREMENT) torchvision 'setuptools>=77' cmake ninja pybind11
	rm -f $(VENV)/.torch-* && touch $@

$(INSTALLED): $(TORCH_STAMP) pyproject.toml $(NATIVE_SOURCES)
	$(PIP) $(TORCH_REQUIREMENT) --no-build-isolation --editable '.[photos,test,lint]'
	$(PIP) --no-deps facenet-pytorch pytorch-fid
	touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	$(PIP) $(TORCH_REQUIREMENT) --no-build-isolation --editable '.[bench]'
	touch $@
