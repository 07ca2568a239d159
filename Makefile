# `make` alone lists the targets. Every target does its own set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup ready build demo test rust eunit properties ct ct-cluster bench bench-link bench-effects bench-compiler bench-scale fuzz lint docs clean

# partisan or otp; empty chooses the best that is installed.
ENGINE ?=
export CARGO_TERM_PROGRESS_WHEN ?= auto
TOPOS = $(or $(CARGO_TARGET_DIR),target)/release/topos

help: ## list the targets
	@printf 'usage: make TARGET [ENGINE=partisan|otp]\n\n'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

setup: ## install what is missing; ask again where Partisan comes from
	@scripts/setup.sh --again

ready:
	@scripts/setup.sh

build: ready ## build the topos program, the native library and the Erlang application
	cargo build --release --locked -p topos-cli
	rebar3 compile

demo: build ## run the Quick Start on three nodes: make demo ENGINE=otp
	@scripts/engines.sh
	$(TOPOS) demo $(if $(ENGINE),--engine $(ENGINE))

test: build ## run all test suites
	@scripts/test.sh

rust eunit properties ct: build ## run one stage of the tests
	@scripts/test.sh $@

ct-cluster: build ## clusters of full size, 50 VMs at most: make ct-cluster ENGINE=otp
	@scripts/ct-cluster.sh $(ENGINE)

bench: build ## typed terms, and the link beside plain Partisan and Distributed Erlang, with small loads
	@scripts/bench.sh

bench-link: build ## every ratio of the link in one run: make bench-link ARGS="--json"
	@scripts/bench.sh link $(ARGS)

bench-effects: build ## what an effect, a state variable and a handler cost, against a direct call
	@scripts/bench-effects.sh

bench-compiler: build ## lines a second of check and build, on a generated project of 50,000 lines
	cargo bench --locked -p topos-cli --bench compiler

bench-scale: build ## what a cluster costs each node: 100 to 10,000 simulated ones, 10 to 50 real ones: make bench-scale ARGS="otp 10"
	@scripts/bench-scale.sh $(ARGS)

fuzz: ## libFuzzer on lexer, parser, checker and codecs: make fuzz ARGS="600 lexer parser" (seconds, targets)
	@scripts/fuzz.sh $(ARGS)

lint: ready ## clippy, rustfmt, xref, Dialyzer and the house rules, without a warning
	@scripts/lint.sh

docs: ready ## HTML documentation of the Rust crates and the Erlang modules
	cargo doc --workspace --no-deps --locked
	@scripts/docs.sh

clean: ## remove everything that was built
	cargo clean
	rm -rf _build .make priv/*.so
