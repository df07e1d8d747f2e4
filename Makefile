# One line each; what a target does is said by `make help`.
.DEFAULT_GOAL := help
.PHONY: help run demo test unit clients cloud lint lists bench soak cost build validate deploy destroy

# Of a deployment.
STACK ?= harpoon
ARCH ?= arm64

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

run: ## Build and start everything on this machine; prints where to go
	cargo run --release --bin harpoon -- serve

demo: ## Send a month of invented activity to the running server
	cargo run --release --bin harpoon -- demo

test: lint unit clients cloud ## Set up what the tests need and run all of them

lint: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

unit: ## Unit, property, contract, pipeline and race tests
	cargo test --workspace

clients: ## Real Segment clients, kill -9 and bad input against the running binary
	cargo build --workspace --bin harpoon
	scripts/setup-tests.sh
	python3 tests/clients/run.py -v

cloud: ## The template checked, and deployed with the real functions to a stand-in for AWS
	cargo build --workspace --bin harpoon
	scripts/build-functions.sh x86_64 $(or $(PROFILE),dev)
	.venv-deploy/bin/python -m pytest tests/deploy -q

bench: ## Benchmarks, in small; SIZE=full makes the figures of docs/performance.md
	cargo bench -p harpoon-tests --bench rules
	cargo bench -p harpoon-tests --bench ingest
	cargo bench -p harpoon-tests --bench stages
	cargo bench -p harpoon-tests --bench store -- $(if $(filter full,$(SIZE)),--size full --accounts 100000 --evaluations 1000000,--accounts 2000 --rounds 2 --embedded-rounds 1)
	scripts/build-functions.sh x86_64
	.venv-deploy/bin/python tests/deploy/startup.py --must 1.5

soak: ## Ten million events under a million faults, then 100 kill -9; EVENTS=100000 KILLS=20 for less
	cargo run --release -p harpoon-tests --bin soak -- --events $(or $(EVENTS),10000000)
	cargo build --release -p harpoon
	scripts/setup-tests.sh
	HARPOON_BIN=target/release/harpoon HARPOON_KILLS=$(or $(KILLS),100) python3 tests/clients/run.py -q -s -k kills

cost: ## What a million events would cost in the cloud, counted
	cargo run --release --bin harpoon -- cost

lists: ## Refresh the vendored lists of mail domains
	python3 scripts/refresh-lists.py

build: ## Build the functions for Lambda; ARCH=x86_64 instead of arm64
	scripts/build-functions.sh $(ARCH)

validate: ## Check the template with SAM, cfn-lint, checkov and assertions of our own
	scripts/setup-deploy.sh
	.venv-deploy/bin/python -m pytest -q tests/deploy/test_validation.py tests/deploy/test_template.py tests/deploy/test_events.py tests/deploy/test_rights.py tests/deploy/test_documents.py tests/deploy/test_roots.py

deploy: build ## Deploy to AWS; STACK=name ARCH=x86_64 PARAMETERS="AlarmEmail=ops@example.com"
	.venv-deploy/bin/python scripts/deploy.py --stack $(STACK) --arch $(ARCH) $(PARAMETERS)

destroy: ## Delete a deployment that is not protected, with all its data; STACK=name
	scripts/setup-deploy.sh
	.venv-deploy/bin/python scripts/destroy.py --stack $(STACK)
