# Thin front of CMake. `make run` and `make test` do all the set-up on a fresh Debian 12.
BUILD ?= build
ARGS  ?=
MINUTES ?= 60
PYTHON ?= /usr/bin/python3
SECONDS ?= 60

.PHONY: test-fault-full soak all all-tests deps deps-test run test check test-all bench install lint clean asan tsan fuzz fuzz-build deb pages

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
	@tools/run_tests --build $(BUILD) --asan $(BUILD)/asan checks unit asan replay spec e2e storm points soak

# A daemon under everything at once; MINUTES=60 unless told otherwise.
soak: all-tests
	@SELFMON_LUA=$(BUILD)/selfmon-lua $(PYTHON) tests/soak/soak.py --minutes $(MINUTES)

# The fast part (under two minutes), for work in progress.
check: all-tests
	@tools/run_tests --build $(BUILD) checks unit spec

# Sanitizers and fault schedules as well.
test-all: deps-test all-tests asan tsan fuzz-build
	@SELFMON_TEST_LONG=1 tools/run_tests --build $(BUILD) --asan $(BUILD)/asan --tsan $(BUILD)/tsan \
	  --fuzz $(BUILD)/fuzz --seconds $(SECONDS) \
	  checks unit asan tsan replay spec asan-spec e2e asan-e2e fault fuzz soak

# Every point of the kill and error schedules, 200 random kills, every row of the fault matrix; writes
# docs/reliability.md.
test-fault-full: deps-test all-tests
	@SELFMON_LUA=$(BUILD)/selfmon-lua SELFMON_TEST_LONG=1 SELFMON_FAULT_EVERY=1 $(PYTHON) tests/fault/matrix.py --run

asan:
	@cmake --preset asan -Wno-dev >/dev/null && cmake --build --preset asan

# Looks for inputs that break a parser, each target for SECONDS; finds stay in build/fuzz/found.
fuzz: deps-test fuzz-build
	@tools/run_tests --build $(BUILD) --fuzz $(BUILD)/fuzz --seconds $(SECONDS) fuzz

fuzz-build:
	@cmake --preset fuzz -Wno-dev >/dev/null && cmake --build --preset fuzz

tsan:
	@cmake --preset tsan -Wno-dev >/dev/null && cmake --build --preset tsan

bench: all-tests
	@tools/run_bench $(BUILD)

lint: all-tests
	@tools/run_tests --build $(BUILD) checks

# The Debian package, in build/.
deb: all
	@cpack --config $(BUILD)/CPackConfig.cmake -B $(BUILD)/deb >$(BUILD)/deb.log 2>&1 \
	  || { cat $(BUILD)/deb.log; exit 1; }
	@mv $(BUILD)/deb/*.deb $(BUILD)/ && ls $(BUILD)/*.deb

install: all
	@cmake --install $(BUILD)

clean:
	@rm -rf $(BUILD)

# Pages that are made from the scripts and from the program.
pages: all
	@$(BUILD)/selfmon-lua market doc >docs/inspections.md
