# Two commands for a stranger: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= python3
VENV ?= .venv
# The versions that CI tests. `make CONSTRAINTS= ...` takes whatever is newest.
CONSTRAINTS ?= .ci/constraints.txt
OUT ?= runs/demo
SCREENSHOTS ?= runs/browser
WORKERS ?= auto
BIN = $(VENV)/bin

.PHONY: help install demo test lint notebooks realdata maps pretrain clean

help:
	@echo "make demo       train FastFlow on the embedded toy set, offline; leaves an executed notebook"
	@echo "make test       all tests"
	@echo "make test-fast  those without notebooks and without other processes, in a minute"
	@echo "make test-browser  notebooks and interactive views in JupyterLab, and the report, in headless Chromium (install chromium first)"
	@echo "make lab        JupyterLab on the course"
	@echo "make test-faults  kill -9 at 20 moments of each kind of work, full disks, damaged files (about ten minutes)"
	@echo "make mutants    changes one operator or number of the library at a time; tests must notice (about an hour)"
	@echo "make lint       ruff over code and notebooks, and the direction of imports"
	@echo "make types      mypy, strict, over the package, the scripts and what tests share"
	@echo "make test-oldest  the fast tests at the oldest versions that pyproject.toml allows"
	@echo "make notebooks  execute the committed notebooks anew, in place"
	@echo "make student    notebooks/student/ anew: the notebooks with exercises, without solutions"
	@echo "make student-zip  the same as a bundle to hand out, with a README"
	@echo "make test-runs  one notebook twenty times in one process: no memory, file or process stays behind"
	@echo "make realdata   bottle and screw (needs FASTFLOW_LITE_DATA and FASTFLOW_LITE_WEIGHTS)"
	@echo "make pretrain   the bundled weights anew, into runs/pretrain (one to two hours on two cores; goes on if stopped)"
	@echo "make bench      speed, memory and metrics beside anomalib, which it installs into .venv-bench (half an hour)"
	@echo "make gpu        the whole method on a GPU, in eight minutes, with nothing installed: benchmarks/gpu.py"
	@echo "make maps       the table of normalizations and maps in benchmarks/ (likewise, about an hour)"

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) -e ".[notebooks,imagenet,export,test]"
	@touch $@

demo: install
	@mkdir -p $(OUT)
	$(BIN)/papermill --no-progress-bar --log-output --kernel python3 notebooks/07_fastflow.ipynb $(OUT)/07_fastflow.ipynb -p out_dir $(OUT)
	@echo; $(BIN)/python -m fastflow_lite.evaluation.report $(OUT)/result.json
	@echo; echo "The executed notebook: $(OUT)/07_fastflow.ipynb"
	@echo "Its figures and record:"; ls $(OUT)/*.png $(OUT)/result.json

# One process a core, each with one thread: two threads of two processes on two cores wait for each other.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal --durations 25

.PHONY: test-fast
test-fast: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal -m "not slow and not browser and not runs"

.PHONY: test-browser lab
test-browser: install
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) -e ".[notebooks,imagenet,export,test,browser]"
	$(NAME_KERNEL)
	FASTFLOW_LITE_SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest -m browser tests/browser
	@echo "Screenshots: $(SCREENSHOTS)"

# The environment's own kernel under a name that a learner knows. The notebooks ask for "python3", as everybody has it.
NAME_KERNEL = $(BIN)/python -m ipykernel install --sys-prefix --name python3 --display-name "FastFlow Lite" >/dev/null

lab: install
	$(NAME_KERNEL)
	$(BIN)/jupyter lab notebooks

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

notebooks: install
	$(BIN)/python notebooks/execute.py

.PHONY: test-faults mutants
test-faults: install
	FASTFLOW_LITE_FAULTS=20 $(BIN)/python -m pytest -s tests/batch/test_faults.py

# One change in the library at a time; the tests must notice nine in ten.
mutants: install
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py

.PHONY: types test-oldest
types: install
	$(BIN)/mypy

# The oldest versions that pyproject.toml allows, in an environment of their own (5 GB with torch for CUDA).
test-oldest:
	PYTHON=$(PYTHON) .ci/oldest

.PHONY: student
student: install
	$(BIN)/python notebooks/student.py

realdata: install
	for category in bottle screw; do mkdir -p runs/$$category && \
	  $(BIN)/papermill --no-progress-bar --log-output notebooks/07_fastflow.ipynb runs/$$category/07_fastflow.ipynb \
	    -p dataset mvtec -p category $$category -p backbone resnet18 -p weights "$$FASTFLOW_LITE_WEIGHTS" \
	    -p epochs 8 -p seed 0 -p out_dir runs/$$category || exit 1; done

# An environment of its own: anomalib brings packages that nothing else here needs.
.PHONY: bench
bench: .venv-bench/installed
	.venv-bench/bin/python benchmarks/speed.py
	.venv-bench/bin/python benchmarks/memory.py
	.venv-bench/bin/python benchmarks/metrics.py

.venv-bench/installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet -e ".[bench]"
	@touch $@

# With the environment of `make install` where there is one, else with the machine's own Python and its torch.
GPU_ARGS ?=
.PHONY: gpu
gpu:
	PYTHONPATH=. $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py $(GPU_ARGS)

maps: install
	$(BIN)/python benchmarks/maps.py

pretrain: install
	$(BIN)/python benchmarks/pretrain/train.py --out runs/pretrain/first.safetensors
	$(BIN)/python benchmarks/pretrain/train.py --out runs/pretrain/second.safetensors \
	  --start runs/pretrain/first.safetensors --objective contrast --size 128 --zoom 2 --lr 1e-3 --epochs 16
	$(BIN)/python benchmarks/pretrain/train.py --out runs/pretrain/resnet18_formulas.safetensors \
	  --start runs/pretrain/second.safetensors --objective odd --size 128 --zoom 1.6 --look 96 --lr 5e-4 --epochs 40

clean:
	rm -rf $(VENV) .venv-bench runs .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info

.PHONY: student-zip test-runs
student-zip: install
	$(BIN)/python notebooks/student.py --zip runs/fastflow-exercises.zip
	@echo "The bundle: runs/fastflow-exercises.zip"

test-runs: install
	$(BIN)/python -m pytest -n0 -s -m runs tests/batch/test_many_runs.py
