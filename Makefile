# The front door.  Every target is one script or one cargo command; `make help` lists them.

PREFIX ?= /usr/local
DESTDIR ?=

# `help` prints what follows the two hashes of a target.
.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

.PHONY: demo
demo: ## build, make a bundle, run a container in it, print what it sees (root or ordinary user)
	@scripts/demo

.PHONY: test
test: ## pass all tests; as root, install what they need, and test rootless as an ordinary user too
	@scripts/test

.PHONY: test-old-kernel
test-old-kernel: ## pass the tests once more with every call denied that is younger than Linux 5.10 (root)
	@scripts/test-old-kernel

.PHONY: ci
ci: ## all that a change must pass: format, lints, docs, dependencies, tests, demos
	@.ci/run

.PHONY: lint
lint: ## check the format, the lints and the documentation; change nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	scripts/check-docs

.PHONY: bench
bench: ## compare orlop with runc and crun on the same bundles (root)
	@scripts/bench

.PHONY: bench-docs
bench-docs: ## the same, and write the tables and plots of docs/benchmarks.md anew (root, a quiet machine)
	@scripts/bench-docs

.PHONY: conformance-docs
conformance-docs: ## test orlop, runc and crun against the specification, and write the matrix of docs/conformance.md anew (root)
	@scripts/conformance

# orlop by itself, for the names in runtime-cli/hot-functions.txt: see docs/benchmarks.md
.PHONY: build
build: ## build the release binaries: orlop and containerd-shim-orlop-v2
	cargo build --release -p orlop
	cargo build --release -p containerd-shim-orlop-v2

.PHONY: docs
docs: ## write the manual pages and the completions of bash, zsh and fish to dist/, from the command's own tables
	cargo run -q -p orlop --bin orlop-docs -- dist

.PHONY: install
install: ## after make build: install the binaries below PREFIX (/usr/local); DESTDIR goes before it
	@scripts/install "$(DESTDIR)$(PREFIX)"

.PHONY: clean
clean: ## remove everything that was built
	cargo clean
