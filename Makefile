# `make run` and `make test` are all that a fresh Debian or Ubuntu machine needs; tools/setup.sh fetches what is missing.
.DEFAULT_GOAL := help
.PHONY: help run test sanitize build gpu-test clean setup

FOR ?= 30s
MISSION ?= examples/missions/survey.yaml
DENO := .tools/deno

help: ## this list
	@echo 'Usage: make TARGET, where TARGET is one of:'
	@sed -n 's/^\([a-z-]*\):[^#]*## /  \1\t/p' Makefile | expand -t 12
	@echo 'With run, FOR=2m flies longer than $(FOR), FOR=0 until Ctrl-C, and MISSION=file.yaml another mission.'

run: setup build ## fly the example mission, on the GPU or else on the simulator; then sum it up
	@echo "calypte: flying $(MISSION) $(if $(filter 0,$(FOR)),until Ctrl-C,for $(FOR))" >&2
	@./calypte run '$(MISSION)' --for '$(FOR)'

test: setup ## run every test that needs no GPU; ends with "N passed, N failed"
	@tools/setup.sh library tests sanitizers $(if $(CALYPTE_TEST_OLD_DENO),old-deno)
	@$(DENO) run -A tools/run_tests.ts

sanitize: setup ## run the native tests with sanitizers only (memory, undefined behaviour, threads)
	@tools/setup.sh sanitizers
	@$(DENO) run -A tools/run_tests.ts sanitizer

build: ## build the native library, build/libcalypte.so
	@tools/setup.sh library

gpu-test: setup build ## run the tests and measurements that need an NVIDIA GPU, into bench/results/local
	@$(DENO) run -A bench/gpu_test.ts --out bench/results/local

clean: ## remove what was built; .tools/ stays, so that nothing is fetched again
	rm -rf build dist out

setup:
	@tools/setup.sh modules
