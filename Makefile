# make demo   build, train a small network on rendered shapes, show the curve, classify a held-out picture
# make test   install two software adapters where missing, build, run every test
# make python install the Python package into an environment of its own, target/python
# make bench  whole networks, then each of their kernels, on the default adapter, beside its own peaks

SHELL := /bin/bash
DEMO := demo-run
RESNET := target/release/resnet-rs
PYTHON := target/python

# SwiftShader comes with Debian's Chromium and does not register itself with the Vulkan loader.
SWIFTSHADER := $(wildcard /usr/lib/chromium/vk_swiftshader_icd.json)

.PHONY: build demo test python bench

build:
	cargo build --release

demo: build
	@$(RESNET) devices -q > /dev/null 2>&1 || scripts/setup adapter
	rm -rf $(DEMO)
	$(RESNET) train --data shapes --model small --epochs 5 --out $(DEMO)
	$(RESNET) eval --data shapes --weights $(DEMO)/best.safetensors
	$(RESNET) sample --data shapes --count 1 --first 7 --out $(DEMO)/held-out
	$(RESNET) predict $(DEMO)/held-out/*.png --weights $(DEMO)/best.safetensors --top 3
	@echo "The curves are in $(DEMO)/curves.svg"

test:
	scripts/setup test
	$(MAKE) run-tests

# A second make, so that SWIFTSHADER sees what setup has just installed.
.PHONY: run-tests
run-tests:
	VK_ADD_DRIVER_FILES=$(SWIFTSHADER) cargo test --release --workspace
	$(MAKE) python
	$(PYTHON)/bin/pytest -q python/tests

python: build
	test -e $(PYTHON)/bin/maturin || python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install -q --disable-pip-version-check maturin
	VIRTUAL_ENV=$(abspath $(PYTHON)) $(PYTHON)/bin/maturin develop --release -m python/Cargo.toml --extras test

bench:
	cargo bench --bench network --bench kernels
