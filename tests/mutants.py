"""Do the tests see? Change one operator or number of the library at a time, and count the changes that no test notices.

An operation becomes another one or loses its right side; a number becomes one more, a fraction ten times as large, or
ten times as far from one where it is close to it: .995 becomes .95.

    python tests/mutants.py                               # every mutant of every module: `make mutants`
    python tests/mutants.py scoring/metrics --sample 40   # 40 of one module, drawn by --seed

Each mutant runs its module's tests in a process forked from one that has torch imported already: a second or two
each, where a mutation tool that starts Python anew takes ten. Survivors are printed; MUTANTS.md says why they may.
"""

import argparse
import ast
import contextlib
import copy
import importlib
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "fastflow_lite"
ROOMS = ("flows", "backbones", "scoring", "datasets", "baselines", "training", "evaluation", "detection")
ALONE = ("config", "model", "course/doctor", "course/live")  # modules besides those of the rooms
TESTS_ELSEWHERE = {  # module -> tests besides the mirrored one and its own docstrings
    "flows/transforms": ["flows/test_laws.py", "flows/test_conditional.py"],
    "flows/steps": ["flows/test_laws.py"],
    "flows/likelihood": ["scoring/test_maps.py", "course/test_plane.py"],
    "flows/precision": ["flows/fast/test_function.py", "flows/fast/test_step.py"],
    "flows/sampling": ["course/test_plane.py"],
    "scoring/thresholds": ["scoring/test_metrics.py"],
    "scoring/ranking": ["scoring/test_metrics.py"],
    "datasets/sources": ["datasets/test_download.py"],
    "datasets/decoding": ["datasets/test_input_format.py"],
    "datasets/image_set": ["datasets/test_masks.py"],
    "backbones/frozen": ["backbones/test_timm_networks.py"],
    "backbones/random_weights": ["backbones/test_weights.py"],
    "backbones/stored_models": ["test_model_files.py"],
    "baselines/files": ["baselines/test_baseline.py"],
    "baselines/history": ["baselines/test_baseline.py"],
    "baselines/padim": ["baselines/test_baseline.py"],
    "detection/any_model": ["detection/test_detector.py"],
    "detection/detector": ["detection/test_tiled_scorer.py"],
    "detection/export_formats": ["detection/test_export.py"],
    "detection/outputs": ["cli/test_predict.py"],
    "model": ["test_model_files.py"],
    "flows/fast/elementwise": ["flows/fast/test_function.py", "flows/fast/test_step.py"],
    "flows/fast/function": ["flows/fast/test_condition.py"],
    "flows/fast/layout": ["flows/fast/test_condition.py"],
    "flows/fast/step": ["flows/fast/test_condition.py"],
    "training/epoch_loss": ["training/test_divergence.py"],
    "training/optimization": ["training/test_divergence.py", "training/test_checkpoint.py"],
    "training/loop": ["training/test_trainer.py", "training/test_divergence.py"],
    "training/settings": ["training/test_recipes.py"],
    "training/trainer": ["training/test_divergence.py"],
    "evaluation/evaluator": ["evaluation/test_result.py"],
}


def _matching() -> dict[str, list[str]]:
    """Return the tests of each module."""
    files = [PACKAGE / f"{name}.py" for name in ALONE]
    files += [file for room in ROOMS for file in sorted((PACKAGE / room).rglob("*.py"))]
    modules = [file.relative_to(PACKAGE).with_suffix("") for file in files if file.stem != "__init__"]
    mirrored = {str(module): module.with_name(f"test_{module.name}.py") for module in modules}
    return {
        module: [str(test) for test in [test] if (TESTS / test).exists()] + TESTS_ELSEWHERE.get(module, [])
        for module, test in mirrored.items()
    }


MATCHING = _matching()
SLOW = ("detection/export", "detection/export_formats")  # whose tests are all marked slow
SECONDS = 60  # of processor time; a mutant that takes more is found: it does not end
IDLE_SECONDS = 60  # without any processor time; then its threads wait for each other, and it is found
WAITING_SECONDS = 1800  # in all, however little of a full machine it gets
BYTES = 16 * 2**30
SWAPS: dict[type[ast.AST], Callable[[], Any]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def places(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that compute something: not annotations, not names of types, and not what an error says."""
    names = (
        [target.id for target in tree.targets if isinstance(target, ast.Name)] if isinstance(tree, ast.Assign) else []
    )
    if any(
        name[0].isupper() and not name.isupper() for name in names
    ):  # in this package a type; constants are CAPITALS
        return
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "exc", "type_params") or isinstance(tree, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from places(child)


def changes(node: ast.AST) -> list[str]:
    """What can be done to a node, in words."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        swapped = f"{type(node.op).__name__} to {SWAPS[type(node.op)].__name__}"
        return [swapped, "left side alone"] if isinstance(node, ast.BinOp) else [swapped]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        return [f"{type(node.ops[0]).__name__} to {SWAPS[type(node.ops[0])].__name__}"]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        return [f"without {type(node.op).__name__}"]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return [f"{node.value} to {_other(node.value)}"]
    return ["condition negated"] if isinstance(node, ast.If | ast.IfExp) else []


def change(node: Any, which: int) -> None:
    """Do to a node, in place, the change number `which` of `changes`."""
    if isinstance(node, ast.BinOp) and which:
        left: Any = node.left
        node.__class__, node.__dict__ = type(left), dict(vars(left))
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
        if not isinstance(node.op, ast.UAdd):
            alone: Any = node
            alone.__class__, alone.values, alone.op = ast.BoolOp, [node.operand], ast.And()
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value = _other(node.value)
    else:
        node.test = ast.UnaryOp(ast.Not(), node.test)


def _other(value: float) -> float:
    if isinstance(value, bool):
        return not value
    if isinstance(value, float) and 0 < value < 1:
        return 10 * value if value < 0.5 else round(1 - 10 * (1 - value), 9)
    return value + 1


def mutants(module: str) -> Iterator[tuple[str, int, int, str]]:
    """`(module, number of the node, number of the change, where and what)`; node -1 is the module as it is."""
    text = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    for number, node in enumerate(places(ast.parse(text))):
        for which, what in enumerate(changes(node)):
            line: int = getattr(node, "lineno", 0)
            yield module, number, which, f"{module}.py:{line} {what}: {text.splitlines()[line - 1].strip()}"


def notices(mutant: tuple[str, int, int, str]) -> tuple[str, bool]:
    """Whether the tests fail with this mutant, or take too long."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(WAITING_SECONDS)
        threading.Thread(target=_end_when_idle, daemon=True).start()
        with contextlib.suppress(BaseException):
            os._exit(_run(*mutant[:3]))
        os._exit(1)
    return mutant[3], os.waitpid(child, 0)[1] != 0


def _end_when_idle() -> None:
    """End this process if none of its other threads computes any more."""
    used, since = 0.0, time.monotonic()
    while time.monotonic() - since < IDLE_SECONDS:
        time.sleep(1)
        if (now := time.process_time() - time.thread_time()) > used + 0.02:
            used, since = now, time.monotonic()
    os._exit(1)


def _run(module: str, number: int, which: int) -> int:
    import pytest

    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    path, get_code = str(PACKAGE / f"{module}.py"), SourceFileLoader.get_code

    def mutated(self: Any, fullname: str) -> CodeType | None:
        if self.path != path:
            return get_code(self, fullname)
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        if number >= 0:
            change(list(places(tree))[number], which)
        return compile(ast.fix_missing_locations(copy.deepcopy(tree)), path, "exec")

    SourceFileLoader.get_code = mutated  # type: ignore[method-assign]
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    importlib.import_module(
        f"fastflow_lite.{module.replace('/', '.')}"
    )  # before pytest, which reads its arguments itself
    tests = [path, *(str(TESTS / name) for name in MATCHING[module])]
    without = [word for name in ("cacheprovider", "nbval", "xdist") for word in ("-p", f"no:{name}")]
    marks = "not long" if module in SLOW else "not slow"
    quiet = ["-q", "-x", "--tb=no", "-m", marks, *without, "-W", "ignore:Module already imported"]
    return int(pytest.main([*quiet, *tests]))


def _import_what_does_not_change() -> None:
    """Before the forks; the package itself is forgotten again."""
    for name in ("hypothesis", "matplotlib.pyplot", "pandas", "pytest", "scipy.ndimage", "sklearn.metrics", "torch"):
        importlib.import_module(name)
    importlib.import_module("fastflow_lite.backbones").import_timm()
    sys.modules["torch"].set_num_threads(1)
    for name in [name for name in sys.modules if name.startswith("fastflow_lite")]:
        del sys.modules[name]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(MATCHING))
    parser.add_argument("--sample", type=int, help="so many mutants of each module (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(TESTS), str(PACKAGE.parent)]
    _import_what_does_not_change()
    killed = total = 0
    with multiprocessing.get_context("fork").Pool(args.jobs) as pool:
        for module in args.modules:
            assert not notices((module, -1, 0, ""))[1], f"the tests of {module} fail without any mutant"
            found = list(mutants(module))
            chosen = random.Random(args.seed).sample(found, min(args.sample or len(found), len(found)))
            results = list(pool.imap_unordered(notices, chosen))
            alive = sorted(where for where, noticed in results if not noticed)
            killed, total = killed + len(results) - len(alive), total + len(results)
            print(f"{module}: {len(results) - len(alive)} of {len(results)} noticed ({len(found)} in all)", flush=True)
            print("".join(f"  {where}\n" for where in alive), end="", flush=True)
    print(f"all: {killed} of {total} noticed, {100 * killed / total:.1f} %")
    return 0 if killed >= 0.9 * total else 1


if __name__ == "__main__":
    sys.exit(main())
