# One line each; what a target does is said by `make help`.
.DEFAULT_GOAL := help
.PHONY: help run demo test unit clients lint lists bench soak cost

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

run: ## Build and start everything on this machine; prints where to go
	cargo run --release --bin harpoon -- serve

demo: ## Send a month of invented activity to the running server
	cargo run --release --bin harpoon -- demo

test: lint unit clients ## Set up what the tests need and run all of them

lint: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

unit: ## Unit, property, contract, pipeline and race tests
	cargo test --workspace

clients: ## Real Segment clients, kill -9 and bad input against the running binary
	cargo build --workspace --bin harpoon
	scripts/setup-tests.sh
	python3 tests/clients/run.py -v

bench: ## Benchmarks, in small; SIZE=full makes the figures of docs/performance.md
	cargo bench -p harpoon-tests --bench rules
	cargo bench -p harpoon-tests --bench ingest
	cargo bench -p harpoon-tests --bench stages
	cargo bench -p harpoon-tests --bench store -- $(if $(filter full,$(SIZE)),--size full --accounts 100000 --evaluations 1000000,--accounts 2000 --rounds 2 --embedded-rounds 1)

soak: ## Ten million events under a million faults, then 100 kill -9; EVENTS=100000 KILLS=20 for less
	cargo run --release -p harpoon-tests --bin soak -- --events $(or $(EVENTS),10000000)
	cargo build --release -p harpoon
	scripts/setup-tests.sh
	HARPOON_BIN=target/release/harpoon HARPOON_KILLS=$(or $(KILLS),100) python3 tests/clients/run.py -q -s -k kills

cost: ## What a million events would cost in the cloud, counted
	cargo run --release --bin harpoon -- cost

lists: ## Refresh the vendored lists of mail domains
	python3 scripts/refresh-lists.py
