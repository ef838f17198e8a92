# The commands a person needs. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

.PHONY: help run test bench deny docs setup-run setup-test setup-bench

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: setup-run ## build in release and start the node with demo lines
	@cargo build --release --bin offhook
	@exec "$${CARGO_TARGET_DIR:-target}/release/offhook" serve --demo

test: setup-test ## everything that CI runs: lints, unit, simulation, real programs
	@scripts/test.sh

bench: setup-bench ## measure beside Kamailio and rtpengine; WHAT=calls or WHAT=relay for one
	@cargo build --release --bin offhook
	@bench/run.sh $(WHAT)

docs: ## write the reference pages anew from the types
	@UPDATE_DOCS=1 cargo test --quiet -p offhook-switch -p offhook-node -p offhook-api -p offhook-load -p offhook -- reference_page

deny: ## licences, bans and advisories of all libraries, by cargo-deny where it is installed
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing" >&2; echo "hint: cargo install --locked cargo-deny" >&2; exit 1; }
	@cargo deny --workspace check --allow unmatched-skip

setup-run:
	@scripts/setup.sh run

setup-test:
	@scripts/setup.sh test

setup-bench:
	@scripts/setup.sh bench
