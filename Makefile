# The few commands a contributor needs; .ci/run runs the same ones.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
PACKAGES := $(shell sed -e 's/\#.*//' packages.txt)
WORKERS ?= 4

# A temporary folder of its own: pytest's shared one would trip over what another run left mounted in it.
PYTEST = tmp=$$(mktemp -d "$${TMPDIR:-/tmp}/imgkit-pytest.XXXXXX") && trap 'rm -rf --one-file-system "$$tmp"' EXIT \
  && $(PY) -m pytest --basetemp "$$tmp/t"

.PHONY: demo test test-kernels lint reformat bench packages clean

$(VENV)/run: pyproject.toml
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	$(PY) -m pip install --quiet --editable .
	touch $@

$(VENV)/dev: $(VENV)/run
	$(PY) -m pip install --quiet --group test --group lint
	touch $@

# Only where a package is missing, and only where we may install it.
packages:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "missing Debian packages, tests that need them will say so; install them with:"; echo "  sudo apt-get install" $$missing; fi; fi

# The main job on a sample image that it makes itself.
demo: $(VENV)/run
	$(VENV)/bin/imgkit demo

# Together, and then one by one what needs the host's loop devices for itself.
test: packages $(VENV)/dev
	$(PYTEST) -n $(WORKERS) --dist loadgroup -m 'not kernels and not bench and not alone' $(ARGS)
	$(PYTEST) -m alone

# NTFS and exFAT under Debian's kernel in qemu: slow, by hand; the result is written down in docs/kernels.md.
test-kernels: packages $(VENV)/dev
	$(MAKE) --no-print-directory packages PACKAGES="$$(sed -e 's/#.*//' packages-kernels.txt | xargs)"
	$(PYTEST) -m kernels $(ARGS)

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

reformat: $(VENV)/dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: packages $(VENV)/dev
	$(PYTEST) -m bench -s tests/benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
