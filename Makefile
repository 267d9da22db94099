# Two commands for a stranger: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= python3
VENV ?= .venv
# The versions that CI tests. `make CONSTRAINTS= ...` takes whatever is newest.
CONSTRAINTS ?= .ci/constraints.txt
OUT ?= runs/demo
SCREENSHOTS ?= runs/browser
WORKERS ?= auto
BIN = $(VENV)/bin

.PHONY: help install demo lab test test-fast test-browser test-oldest test-long test-faults test-runs soak realdata mutants lint types \
  notebooks student student-zip docs book package bench bench-quick gpu maps pretrain clean

# `make help` prints the groups and the text behind ##.
help:
	@awk -F ' *## *' '/^##@/ { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ To begin

install: $(VENV)/installed  ## everything into .venv, at the versions that CI tests

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) -e ".[notebooks,imagenet,export,test]"
	@touch $@

demo: install  ## train FastFlow on the embedded toy set, offline, and show what came out
	@$(BIN)/python notebooks/demo.py $(OUT)

# The environment's own kernel under a name that a learner knows. The notebooks ask for "python3", as everybody has it.
NAME_KERNEL = $(BIN)/python -m ipykernel install --sys-prefix --name python3 --display-name "FastFlow Lite" >/dev/null

lab: install  ## JupyterLab on the course
	$(NAME_KERNEL)
	$(BIN)/jupyter lab notebooks

##@ Tests

# One process a core, each with one thread: two threads of two processes on two cores wait for each other. Python keeps
# the code it has compiled, also where the environment says that it should not: the tests start many processes.
test: install  ## all tests but those of test-long
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -p no:nbval -n $(WORKERS) --maxprocesses 8 --dist worksteal --durations 25

test-fast: install  ## those without notebooks and without other processes, in a minute
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal -m "not slow and not browser and not runs and not long"

test-browser: install  ## sliders, notebooks and the report in headless Chromium (install chromium first)
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) -e ".[notebooks,imagenet,export,test,browser]"
	$(NAME_KERNEL)
	FASTFLOW_LITE_SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest -m browser tests/browser
	@echo "Screenshots: $(SCREENSHOTS)"

# The oldest versions that pyproject.toml allows, in an environment of their own (5 GB with torch for CUDA).
test-oldest:  ## the fast tests at the oldest versions that pyproject.toml allows
	PYTHON=$(PYTHON) .ci/oldest

test-long: install  ## those of many seconds where a quicker test sees the same kind of fault: `make test` leaves them out
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal -m long

test-faults: install  ## kill -9 at 20 moments of each kind of work, full disks, damaged files (about ten minutes)
	FASTFLOW_LITE_FAULTS=20 $(BIN)/python -m pytest -s -m "" tests/batch/test_faults.py

test-runs: install  ## one notebook twenty times in one process: no memory, file or process stays behind
	$(BIN)/python -m pytest -n0 -s -m runs tests/batch/test_many_runs.py

soak: install  ## 10,000 images and every notebook, each in one process: memory stays (an hour)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/soak.py images
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/soak.py notebooks

realdata: install  ## bottle and screw (needs FASTFLOW_LITE_DATA and FASTFLOW_LITE_WEIGHTS)
	for category in bottle screw; do mkdir -p runs/$$category && \
	  $(BIN)/papermill --no-progress-bar --log-output notebooks/07_fastflow.ipynb runs/$$category/07_fastflow.ipynb \
	    -p dataset mvtec -p category $$category -p backbone resnet18 -p weights "$$FASTFLOW_LITE_WEIGHTS" \
	    -p epochs 8 -p seed 0 -p out_dir runs/$$category || exit 1; done

# One change in the library at a time; the tests must notice nine in ten.
mutants: install  ## one changed operator or number at a time; tests must notice (about an hour)
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py

lint: install  ## ruff over code and notebooks, and the direction of imports
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: install  ## mypy, strict, over the package, the scripts and what tests share
	$(BIN)/mypy

##@ The course, the documentation, the package

notebooks: install  ## execute the committed notebooks anew, in place
	$(BIN)/python notebooks/execute.py

student: install  ## notebooks/student/ anew: the notebooks with exercises, without solutions
	$(BIN)/python notebooks/student.py

student-zip: install  ## the same as a bundle to hand out, with a README
	$(BIN)/python notebooks/student.py --zip runs/fastflow-exercises.zip
	@echo "The bundle: runs/fastflow-exercises.zip"

docs: install  ## the documentation as a site, without network: build/site/index.html
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) -e ".[docs]"
	$(BIN)/python docs/build_site.py

book: docs  ## the course as pages, searchable, with its formulas: in the same site, tab Course

package: install  ## wheel and sdist, in dist/
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build

##@ Measurements and weights

# An environment of its own: anomalib brings packages that nothing else here needs.
bench: .venv-bench/installed  ## speed, memory and metrics beside anomalib, in .venv-bench (half an hour)
	.venv-bench/bin/python benchmarks/speed.py
	.venv-bench/bin/python benchmarks/memory.py
	.venv-bench/bin/python benchmarks/metrics.py

.venv-bench/installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -e ".[bench]"
	@touch $@

# Beside anomalib itself where `make bench` has installed it. `make bench-quick RECORD=--record` keeps the numbers.
RECORD ?=
bench-quick: install  ## what moved since the last record by more than the noise, in five minutes
	PYTHONPATH=. $(if $(wildcard .venv-bench/installed),.venv-bench,$(VENV))/bin/python benchmarks/quick.py $(RECORD)

# With the environment of `make install` where there is one, else with the machine's own Python and its torch.
GPU_ARGS ?=
gpu:  ## the whole method on a GPU, in eight minutes, with nothing installed
	PYTHONPATH=. $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py $(GPU_ARGS)

maps: install  ## the table of normalizations and maps (real data, about an hour)
	$(BIN)/python benchmarks/maps.py

pretrain: install  ## the bundled weights anew (about an hour on two quick cores; goes on if stopped)
	$(BIN)/python benchmarks/pretrain/train.py --out runs/pretrain/first.safetensors
	$(BIN)/python benchmarks/pretrain/train.py --out runs/pretrain/second.safetensors \
	  --start runs/pretrain/first.safetensors --objective contrast --size 128 --zoom 2 --lr 1e-3 --epochs 16
	$(BIN)/python benchmarks/pretrain/train.py --out runs/pretrain/resnet18_formulas.safetensors \
	  --start runs/pretrain/second.safetensors --objective odd --size 128 --zoom 1.6 --look 96 --lr 5e-4 --epochs 40

##@ To end

clean:  ## remove environments, caches and builds; runs/ and data/ stay
	rm -rf $(VENV) .venv-bench .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
