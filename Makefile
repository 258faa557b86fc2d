# Two commands for a fresh Debian or Ubuntu with a Rust toolchain: `make demo` and `make test`; and `make release` for service.

CARGO ?= cargo

.PHONY: help demo test release dist try tools ci

help:
	@echo 'make demo     one real HTTP/3 request through Spooky, then it stays up for yours'
	@echo 'make test     all tests, with nginx, Apache, Node, curl, Chromium and others as real peers'
	@echo 'make release  target/release/spooky, optimised by a profile of itself under load'
	@echo 'make dist     target/dist: the Debian package, and an archive for other systems'
	@echo 'make try      the package in fresh Debian systems with systemd, as a user would; needs root and `make dist`'
	@echo 'make ci       what has to pass before a change lands'

demo:
	@.ci/tools compiler
	$(CARGO) run --locked --package spooky -- demo

test: tools
	$(CARGO) test --locked --workspace

release:
	@.ci/tools compiler profiler
	$(CARGO) xtask release

dist:
	@.ci/tools compiler package
	$(CARGO) xtask dist --deb
	lintian --fail-on error target/dist/spooky_*.deb

try:
	deploy/try

tools:
	@.ci/tools compiler peers

ci:
	.ci/run
