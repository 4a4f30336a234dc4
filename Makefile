# Thin front of CMake. `make run` and `make test` do all the set-up on a fresh Debian 12.
BUILD ?= build
ARGS  ?=
PYTHON ?= /usr/bin/python3

.PHONY: all all-tests deps deps-test run test check test-all bench install lint clean asan tsan

all:
	@vendor/install --check build
	@$(call configure,-DSM_TESTS=OFF)
	@cmake --build $(BUILD)

all-tests:
	@vendor/install --check build test
	@$(call configure,-DSM_TESTS=ON)
	@cmake --build $(BUILD)

# Configures quietly; shows everything when it fails.
configure = mkdir -p $(BUILD) && { cmake -S . -B $(BUILD) -G Ninja -Wno-dev $(1) \
  >$(BUILD)/configure.log 2>&1 || { cat $(BUILD)/configure.log; exit 1; }; }

# Installs what building and running need (asks for root only when something is missing).
deps:
	@vendor/install build

deps-test:
	@vendor/install build test

# Installs, builds, and runs the shipped inspections with the embedded platform.
# `make run ARGS=--once` runs each once and ends.
run: deps all
	@$(BUILD)/selfmon-lua run $(ARGS) inspections/

# Everything a change must pass.
test: deps-test all-tests asan
	@tools/run_tests --build $(BUILD) --asan $(BUILD)/asan checks unit asan spec e2e

# The fast part (under two minutes), for work in progress.
check: all-tests
	@tools/run_tests --build $(BUILD) checks unit spec

# Sanitizers and fault schedules as well.
test-all: deps-test all-tests asan tsan
	@tools/run_tests --build $(BUILD) --asan $(BUILD)/asan --tsan $(BUILD)/tsan \
	  checks unit asan tsan spec asan-spec e2e asan-e2e fault

asan:
	@cmake --preset asan -Wno-dev >/dev/null && cmake --build --preset asan

tsan:
	@cmake --preset tsan -Wno-dev >/dev/null && cmake --build --preset tsan

bench: all-tests
	@tools/run_bench $(BUILD)

lint: all-tests
	@tools/run_tests --build $(BUILD) checks

install: all
	@cmake --install $(BUILD)

clean:
	@rm -rf $(BUILD)
