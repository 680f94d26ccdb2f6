# `make run` and `make test` are all that a fresh Debian or Ubuntu machine needs; tools/setup.sh fetches what is missing.
.DEFAULT_GOAL := help
.PHONY: help run test sanitize test-arm64 build compile cross camera deb gpu-test bench clean setup

FOR ?= 30s
MISSION ?= examples/missions/survey.yaml
DENO := .tools/deno
CAMERA ?= build/calypte-camera

help: ## this list
	@echo 'Usage: make TARGET, where TARGET is one of:'
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /  \1\t/p' Makefile | expand -t 12
	@echo 'With run, FOR=2min flies longer than $(FOR), FOR=0 until Ctrl-C, and MISSION=file.yaml another mission.'

run: setup build ## fly the example mission, on the GPU or else on the simulator; then sum it up
	@echo "calypte: flying $(MISSION) $(if $(filter 0,$(FOR)),until Ctrl-C,for $(FOR))" >&2
	@./calypte run '$(MISSION)' --for '$(FOR)'

test: setup ## run every test that needs no GPU; ends with "N passed, N failed"
	@tools/setup.sh library tests sanitizers arm64 $(if $(CALYPTE_TEST_OLD_DENO),old-deno)
	@$(DENO) run -A tools/run_tests.ts

sanitize: setup ## run the native tests with sanitizers only (memory, undefined behaviour, threads)
	@tools/setup.sh sanitizers
	@$(DENO) run -A tools/run_tests.ts sanitizer

test-arm64: setup ## run the tests of the simulator as an arm64 machine would, under an emulator
	@tools/setup.sh arm64
	@$(DENO) run -A tools/run_tests.ts arm64

build: ## build the native library, build/libcalypte.so
	@tools/setup.sh library

compile: setup build ## make the one executable, dist/calypte; TARGET=aarch64-unknown-linux-gnu for a Jetson, behind `make cross`
	@$(DENO) run -A tools/compile.ts $(if $(TARGET),--target $(TARGET))

cross: ## build the native library for arm64 with a cross compiler, build/aarch64/libcalypte.so
	@tools/setup.sh cross

camera: ## build the program that gives a GStreamer camera's frames to a mission, build/calypte-camera; jetson/camera/README.md
	@mkdir -p $(dir $(CAMERA))
	@$(CC) -std=c11 -Wall -Wextra -O2 -D_GNU_SOURCE $(CFLAGS) -I ffi/native/include jetson/camera/*.c -o $(CAMERA) \
	  $$(pkg-config --cflags --libs gstreamer-app-1.0 gstreamer-video-1.0)

deb: setup ## make the Debian package, dist/calypte_*.deb; ARCH=arm64 for a Jetson
	@tools/setup.sh $(if $(filter arm64,$(ARCH)),cross,library)
	@$(DENO) run -A tools/deb.ts $(if $(ARCH),--arch $(ARCH))

gpu-test: setup build ## run the tests and measurements that need an NVIDIA GPU, into bench/results/local; PROFILE=tegra: without what a Tegra lacks
	@$(if $(filter tegra,$(PROFILE)),tools/setup.sh tegra)
	@$(DENO) run -A bench/$(if $(filter tegra,$(PROFILE)),tegra,gpu_test).ts --out bench/results/local

bench: setup build ## compare what the simulator shows of scheduling with bench/results/baseline.json
	@$(DENO) run -A bench/eval/regression.ts

clean: ## remove what was built; .tools/ stays, so that nothing is fetched again
	rm -rf build dist out

setup:
	@tools/setup.sh modules
