# Every target sets up what it needs, in .venv and from requirements.lock, and repeats only what is missing.
#
#   make blog                            the default study, then its post: blog/_build/html/index.html
#   make study STUDY=config/NAME.yaml    one study: results/NAME.csv and figures/NAME/
#   make status STUDY=config/NAME.yaml   what of it is done, running, failed and missing, and how long the rest will take
#   make report STUDY=config/NAME.yaml   the same and all scores so far, as a page: runs/NAME/report.html
#   make post                            the post alone, from the committed results and figures
#   make test                            all tests
#   make faults                          kills, broken and hostile input, a cluster: a quarter of an hour, a line for each
#   make bench                           what everything costs on this machine, as a table and in results/bench.csv
#   make notebooks                       notebooks/*.ipynb from their sources
#   make lock                            requirements.lock again, from pyproject.toml
#   make clean                           remove everything that these make, including the runs
#
# Variables: PYTHON (3.11 to 3.14), PROFILE (where the jobs run, a folder of profiles/; default profiles/local), CORES (jobs side by
# side; default that of the profile, which is 2), and TORCH_INDEX, where pip is to look for torch besides its default:
# https://download.pytorch.org/whl/cpu for the small build without CUDA, .../whl/cu126 for another CUDA version.

STUDY ?= config/quick.yaml
PYTHON ?= python3
CORES ?=
PROFILE ?= profiles/local
TORCH_INDEX ?=

BIN := .venv/bin
READY := .venv/ready
RUN := $(BIN)/python -m heads study $(STUDY) --profile $(PROFILE) $(if $(CORES),--cores $(CORES))
RENDER := $(BIN)/python -m sphinx -W --keep-going -q -b html blog blog/_build/html && echo "open blog/_build/html/index.html"
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: blog study status report post test faults bench notebooks lock clean
.DELETE_ON_ERROR:

# With code 3 the table is complete, but some runs failed: the post says so, and so does make.
blog: $(READY)
	code=0; $(RUN) || code=$$?; case $$code in 0 | 3) $(RENDER) && exit $$code ;; *) exit $$code ;; esac

study: $(READY)
	$(RUN)

status: $(READY)
	$(BIN)/python -m heads status $(STUDY) $(if $(CORES),--cores $(CORES))

report: $(READY)
	$(BIN)/python -m heads report $(STUDY) $(if $(CORES),--cores $(CORES))

post: $(READY)
	$(RENDER)

test: $(READY)
	$(BIN)/python -m pytest

faults: $(READY)
	HEADS_FAULTS=1 HEADS_KILLS=20 HEADS_FUZZ=2000 $(BIN)/python -m pytest --verbose --numprocesses=0 --no-header \
	    tests/test_lock.py tests/test_kill.py tests/test_faults.py tests/test_hostile.py tests/test_slurm.py

bench: $(READY)
	$(BIN)/python benchmarks/bench.py

notebooks: $(READY)
	$(BIN)/python -m heads notebooks

# Snakemake needs immutables, which has no wheel for Python 3.14 yet: pip compiles it there.
# h3ds without its own requirements: they would bring an OpenCV with windows, which needs libGL; the lock has one without.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and f"Python 3.11 to 3.14 is needed, and $(PYTHON) is {sys.version.split()[0]}")'
	$(PYTHON) -c 'import os, shutil, sys, sysconfig; sys.exit(sys.version_info >= (3, 14) and os.name == "posix" and not ( \
	    shutil.which(os.environ.get("CC", "cc").split()[0]) and os.path.exists(sysconfig.get_path("include") + "/Python.h")) and \
	    "Python 3.14 needs a C compiler and its own headers here: install gcc and python3-dev, or take Python 3.13")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(PIP) install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable . h3ds==0.4.0
	touch $@

lock: | .venv/bin/python
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --fork-strategy fewest --python-version 3.11 --upgrade \
	    --no-emit-package h3ds --no-annotate --no-header --quiet --output-file .venv/lock
	{ echo "# What every machine installs, for Python 3.11 to 3.14. Made by \`make lock\`; do not edit."; \
	  sed -e "s/ ; python_full_version < '3.15'$$//" -e "s/python_full_version < '3.15' and //g" -e "/== 'emscripten'/d" \
	      -e "s/ ; sys_platform != 'emscripten'$$//" -e '/^#/d' .venv/lock; } > .venv/lock.new
	mv .venv/lock.new requirements.lock

.venv/bin/python:
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv .snakemake runs blog/_build build lib/*.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache
