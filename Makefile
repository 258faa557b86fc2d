# Two commands for a fresh Debian or Ubuntu with a Rust toolchain: `make demo` and `make test`.

CARGO ?= cargo

.PHONY: help demo test tools ci

help:
	@echo 'make demo   one real HTTP/3 request through Spooky, then it stays up for yours'
	@echo 'make test   all tests, with nghttpd, nginx and aioquic as real peers'
	@echo 'make ci     what has to pass before a change lands'

demo:
	@.ci/tools compiler
	$(CARGO) run --locked --package spooky -- demo

test: tools
	$(CARGO) test --locked --workspace

tools:
	@.ci/tools compiler peers

ci:
	.ci/run
