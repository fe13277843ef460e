# Thin on purpose: every target is one line, the work is in scripts/ or in cargo.
# `make` alone prints what there is.

.DEFAULT_GOAL := help
.PHONY: help test lint fmt bench soak quickstart

help: ## Show this list
	@echo 'Levqor: what you can do here'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'First time here? `make quickstart` runs the main job, `make test` proves the rest.'

quickstart: ## Run the main job once, for real, on SQLite in a new temporary folder
	cargo run --release --example quickstart

test: ## Start private databases, run every test, end with `N passed, N failed` (ONLY=name picks tests)
	@scripts/test.sh $(ONLY)

lint: ## Formatting, clippy, docs and licences; a warning is an error
	@scripts/lint.sh

fmt: ## Format the code
	cargo fmt --all

bench: ## Measure in release and update benches/RESULTS.md (SECTION=name picks one section)
	cargo run --release --package levqor-benches --bin levqor-bench -- $(SECTION)

soak: ## The long crash test: 1,000 random kills per backend (KILLS=n sets another number)
	@LEVQOR_SOAK_KILLS=$(or $(KILLS),1000) scripts/test.sh --soak
