# make demo      build, train a small network on rendered shapes, show the curve, classify a held-out picture
# make test      install two software adapters where missing, build, run every test
# make python   install the Python package into an environment of its own, target/python
# make semver    what changed since BASELINE, a tag or commit, breaks for those who build on the library (cargo install cargo-semver-checks)
# make bench     whole networks, then each of their kernels, on the default adapter, beside its own peaks

SHELL := /bin/bash
DEMO := demo-run
RESNET := target/release/resnet-rs
PYTHON := target/python

# One build serves all tests, Python's too. The example with a window brings a toolkit, which takes as long to build as all else.
TESTED := --workspace --exclude classify-gui

# SwiftShader comes with Debian's Chromium and does not register itself with the Vulkan loader.
SWIFTSHADER := $(wildcard /usr/lib/chromium/vk_swiftshader_icd.json)

# By default what is not committed yet.
BASELINE ?= HEAD

.PHONY: build demo test python semver bench

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
	cargo build --release $(TESTED) --lib --bins --tests
	VK_ADD_DRIVER_FILES=$(SWIFTSHADER) cargo test --release $(TESTED)
	test -e $(PYTHON)/bin/python || python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install -q --disable-pip-version-check numpy pytest safetensors onnx onnxruntime
	cp target/release/libresnet_rs_python.so $(PYTHON)/resnet_rs.abi3.so
	PYTHONPATH=$(PYTHON) $(PYTHON)/bin/python -m pytest -q -p no:cacheprovider python/tests

python:
	test -e $(PYTHON)/bin/python || python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install ./python

semver:
	cargo semver-checks --package resnet-rs --baseline-rev $(BASELINE)

bench:
	cargo bench --bench network --bench kernels
