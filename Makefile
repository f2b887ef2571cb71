# Every command of this repository. `make` alone lists them.

export CAMPANILE_SCALE ?= 1
PROFILE ?= release
ARGS ?=

.PHONY: help run test check fmt web bench soak fuzz clean

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

run: ## install or name what the build needs, build, start the server (the demo camera without a config)
	@scripts/setup-build
	cargo run --profile $(PROFILE) -- $(ARGS)

test: ## install the test tools, run every check and every test (what CI runs)
	@scripts/setup-build
	@scripts/setup-test
	@scripts/test

check: ## the quick part of `test`: format, clippy, unit tests; no tools are installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --lib --bins

fmt: ## format the sources
	cargo fmt --all

web: ## build the pages alone (the build of the binary does it too)
	@scripts/npm-ci web
	npm --prefix web run build

bench: ## micro-benchmarks and the gates in milliseconds and per cent, at full scale
	@scripts/setup-build
	@scripts/setup-test
	@scripts/bench

soak: ## the long runs: tests at a large scale, faults over and over; ARGS="idle kills" are pieces of it
	@scripts/setup-build
	@scripts/setup-test
	@PROFILE=$(PROFILE) scripts/soak $(ARGS)

fuzz: ## ten minutes of fuzzing for every parser that reads what strangers send
	@scripts/setup-build
	@scripts/fuzz

clean: ## remove everything that was built
	cargo clean
	rm -rf web/dist web/node_modules tests/browser/node_modules
