# LMS. `make help` tells what there is.
SHELL := /bin/sh
LMS_HOME ?= .lms
export LMS_HOME
RUN := scripts/run
.DEFAULT_GOAL := help

.PHONY: help install install-tests up down restart status logs reset test test-slow test-containers check compose-secrets new-service contracts k8s docs bench bench-company load backup restore drill

help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

install: ## Install what is missing: uv, packages, Java, Maven, MariaDB, Redis
	@scripts/bootstrap $(if $(MONITORING),--monitoring)

install-tests: ## Install what the tests start besides: Prometheus, Alertmanager, exporters, wrk, Chromium
	@scripts/bootstrap --tests

up: install ## Start everything (DETACH=1: and return; MONITORING=1: with Prometheus and Alertmanager); Ctrl-C stops it
	@scripts/web build || echo "The web app is missing: \`scripts/web build\` makes it once npm can fetch its packages."
	@$(RUN) lms up $(if $(DETACH),--detach) $(if $(MONITORING),--monitoring)

down: ## Stop everything; the data stays
	@$(RUN) lms down

restart: ## Restart SERVICE=… or every service, copy by copy
	@$(RUN) lms restart $(SERVICE)

status: ## Show what runs, the URL and the demo people
	@$(RUN) lms status

logs: ## Show the log of SERVICE=…
	@$(RUN) lms logs $(SERVICE)

reset: ## Stop everything and delete all data
	@$(RUN) lms reset --yes

backup: install ## Back up everything, restore it for a trial, delete what is over
	@$(RUN) lms backup

restore: install ## Bring everything back, TO=2026-11-28T09:30:00Z or to the last commit known; REPLACE=1: also where data is
	@$(RUN) lms restore $(if $(TO),--to $(TO)) $(if $(REPLACE),--replace)

drill: install ## Recover from a disaster beside the running system; print recovery time and point
	@$(RUN) lms drill

test: install-tests ## Run all tests but the long ones (test-slow), with servers of their own
	@scripts/test

test-slow: install-tests ## Run the long forms of the race and fault tests too
	@scripts/test-slow

check: install ## Lint, format, types, import rules, spelling
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy shared/src cli/src services/*/src examples scripts tests
	$(RUN) lint-imports
	$(RUN) codespell
	scripts/web check

test-containers: install ## Run the integration tests on containers, and docker compose
	@scripts/test-containers

compose-secrets: install ## Make the secrets of `docker compose up --build`, once
	@$(RUN) python scripts/compose.py

new-service: install ## Make a service that works: NAME=…
	@$(RUN) python scripts/new_service.py $(NAME)

contracts: install ## Write shared/contracts, docs/asyncapi.json and the web app's types of the API from the models
	@$(RUN) python scripts/contracts.py
	@$(RUN) python scripts/asyncapi.py
	@scripts/web types

k8s: install ## Write the generated parts of k8s/
	@$(RUN) python -m scripts.k8s

docs: install ## Write the generated parts of docs/, and the Grafana dashboards
	@$(RUN) python scripts/diagram.py
	@$(RUN) python scripts/dashboards.py

bench: ## Measure speed on a system of its own, write docs/benchmarks.md; fails where a floor does not hold
	@scripts/bootstrap --bench
	@$(RUN) python -m tests.load.bench

bench-company: install ## Measure the company of the running system into docs/benchmarks.md
	@$(RUN) python -m tests.load.bench --company

load: install ## Run the guide's load test of 35 minutes, up to 200 users, on a system of its own
	@$(RUN) python -m tests.load.bench --load
