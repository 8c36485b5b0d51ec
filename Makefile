# `make help` lists what there is. Everything that is built goes to a cache outside the checkout (tools/bootstrap/cache.py).
SHELL := /bin/bash
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE  # set, it would make every start of vLLM compile its packages again

# Debian's own first: it is built with a profile of what Python programs do, which pyenv's builds are not by default.
PYTHON ?= $(or $(wildcard /usr/bin/python3.11),$(shell command -v python3.11 || command -v python3))
PY := .venv/bin/python
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)/jobs:$(CURDIR)/tools
BOOTSTRAP := $(PYTHON) -m bootstrap

.PHONY: help setup system venv envs tools images cluster-up cluster-down cluster-shell generate lint type imports unit \
        integration test-kill jobs node e2e faults test bench bench-gate bench-looks bench-drift bench-eval demo \
        demo-down clean-cache

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

setup: system venv tools ## system packages, .venv and Go tools: what all the rest needs

system: ## Debian packages that are missing
	@$(BOOTSTRAP) system

venv: ## the checkout's .venv
	@$(BOOTSTRAP) venv

envs: ## Python environments for quantization and for vLLM on CPU, in the cache
	@$(BOOTSTRAP) envs

tools: ## the pinned Kubernetes parts, Helm and the rest, built into the cache
	@$(BOOTSTRAP) tools

images: setup ## build the container images, push what changed to the registry's storage
	@$(PY) -m cluster images

cluster-up: images ## a throw-away cluster in .run/cluster, with gateway, Prometheus, volumes and the images
	@$(PY) -m cluster up --gateway --prometheus --volumes 16 --images

cluster-down: venv ## stop that cluster and remove what it made
	@$(PY) -m cluster down

cluster-shell: venv ## a shell inside the cluster's network, with kubectl and helm
	@$(PY) -m cluster exec -- bash

generate: venv ## CRD and API reference from the pydantic models, remedies from the runbooks
	@$(PY) -m quantroll.tools.generate

lint: venv ## ruff, and whether generated files are up to date
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m quantroll.tools.generate --check

type: venv ## mypy --strict
	@MYPY_CACHE_DIR="$$($(BOOTSTRAP) mypy)" $(PY) -m mypy

imports: venv ## import rules
	@.venv/bin/lint-imports

unit: venv ## pure tests, seconds; the chart is rendered by the pinned Helm
	@$(BOOTSTRAP) tools > /dev/null
	@$(PY) -m pytest -q -m "not integration and not jobs and not node and not e2e and not faults" -n 2

integration: venv ## against a real kube-apiserver, without a node
	@$(BOOTSTRAP) bench > /dev/null
	@$(PY) -m pytest -q tests/integration tests/tools tests/chart -m "integration and not kill" --timeout 300 -n 4 --dist loadgroup

test-kill: venv ## the operator killed before and after each of its writes; minutes
	@$(BOOTSTRAP) tools > /dev/null
	@$(PY) -m pytest -q -s -m kill tests/integration/operator/kill

jobs: venv envs ## real quantization and vLLM on CPU, as processes
	@$(PY) -m pytest -q tests/jobs -m jobs --timeout 1200 --durations 8

node: images ## the throw-away cluster itself; needs root
	@$(PY) -m cluster images client-lm-eval > /dev/null
	@$(PY) -m pytest -q tests/tools -m node --timeout 600 -n 2

e2e: images ## the whole loop with the real engine on a throw-away node; needs root
	@$(PY) -m pytest -q tests/e2e -m e2e --timeout 1800 --durations 12

faults: images ## faults in real pods on a throw-away node, by an engine that plays them; needs root
	@$(PY) -m pytest -q tests/e2e -m faults --durations 12 -n 2 --dist loadgroup

test: ## all of these, with a summary; E2E=skip leaves the node out
	@$(BOOTSTRAP) test

bench: venv ## the operator with 1,000 resources beside its goals; BENCH="--n 100" for fewer
	@$(BOOTSTRAP) bench > /dev/null
	@$(PY) -m bench $(BENCH)

bench-gate: venv ## how often the gate ships what it must not, by simulation; minutes
	@$(PY) -m bench.gate

bench-looks: venv ## how often looks at quality take a good candidate back, and how soon a bad one, by simulation; a minute
	@$(PY) -m bench.looks
bench-drift: venv ## virtual years of drift checks: false rollbacks, and weeks until a true one, by simulation; seconds
	@$(PY) -m bench.drift

bench-eval: venv ## the evaluate Job beside lm-eval on one vLLM; minutes; BENCH="--items 200 --rounds 1" for less
	@$(PY) -m bench.evaluation $(BENCH)

demo: system venv ## the main job, visibly, on a throw-away cluster
	@$(PY) -m demo up

demo-down: venv ## remove everything that the demo made
	@$(PY) -m demo down

clean-cache: ## remove all that was built
	@$(BOOTSTRAP) clean-cache
