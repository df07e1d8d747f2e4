# One line each; what a target does is said by `make help`.
.DEFAULT_GOAL := help
.PHONY: help run demo test unit clients lint lists

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

lists: ## Refresh the vendored lists of mail domains
	python3 scripts/refresh-lists.py
