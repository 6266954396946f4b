# Thin doors: each target calls one script or a few cargo commands and holds no logic of its own.
.PHONY: help demo test verify fix

# The scripts share bash functions.
SHELL = bash

BUILT = $${CARGO_TARGET_DIR:-target}

help:
	@echo "make demo     install what the build needs, build, run the whole system with a demo app"
	@echo "make test     install what the tests need as well, run every check and test"
	@echo "make verify   read-only checks: formatting, clippy, docs, tidy"
	@echo "make fix      format, and let clippy repair what it can"
	@echo
	@echo "make demo ARGS=\"--http 127.0.0.1:9080\" passes arguments on; \"make test ARGS=--long\" runs the long tier."

demo:
	@packaging/build-deps
	@. packaging/debian.sh && find_rust && cargo build --release && exec $(BUILT)/release/hancock dev --demo $(ARGS)

test:
	@packaging/build-deps
	@packaging/test-deps
	@packaging/docker-engine up
	@tests/run $(ARGS)

verify:
	@tests/run --only fmt,clippy,docs,tidy

fix:
	@cargo fmt --all
	@cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
