# Everything runs from a fresh machine: each target makes .venv when it is missing.
PY ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-all lint docs clean

$(VENV)/.installed: pyproject.toml
	$(PY) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

# Builds the demo data, trains pih_light on it, evaluates, harmonizes one picture: about 8 minutes.
demo: $(VENV)/.installed
	$(BIN)/python -m data_pipelines.build demo --data-dir demo/data
	$(BIN)/python train.py --config configs/pih/demo.py --workdir demo/run --set data.data_dir=demo/data
	$(BIN)/python eval.py --config configs/pih/demo.py --workdir demo/run --out demo/eval --set data.data_dir=demo/data
	$(BIN)/python -m data_pipelines.export demo --data-dir demo/data --split test --count 1 --out demo/sample
	$(BIN)/python -m jaxharm harmonize --folder demo/sample -o demo/harmonized --checkpoint demo/run --overwrite
	@cat demo/eval/table.md
	@echo "gallery: demo/eval/gallery.html   harmonized picture: demo/harmonized/"

# A file stays with one of the two processes: its tests share compiled programs and fixtures. The
# processes take the files in the order of tests/conftest.py, the long ones first.
PYTEST = $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# What a change needs: 7 to 8 minutes on two idle cores when nothing has been compiled before.
test: $(VENV)/.installed
	$(PYTEST) --quick

# The slow tests too, compiled as users compile: those that repeat a guarantee for every system or kernel, and
# those that need optimized code. About 30 minutes more.
test-all: test
	$(PYTEST) -m slow

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

# The documentation site, in site/; a warning is an error.
docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf demo runs site .pytest_cache .mypy_cache .ruff_cache
