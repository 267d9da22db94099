"""The learner's flow: its code is that of the notebooks, and its values and its training are those of the library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from torch import Tensor

from fastflow_lite import FastFlow, fit
from fastflow_lite.course import checks, from_scratch
from fastflow_lite.datasets import open_dataset
from fastflow_lite.datasets.image_set import ImageSet
from fastflow_lite.flows import flow_steps, nats_per_dim

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SIZE = 32


class WithoutTypesAndDocstrings(ast.NodeTransformer):
    """What the notebooks leave out."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        return self.without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        return self.without_docstring(node)

    def without_docstring(self, node):  # noqa: ANN001, ANN201
        if ast.get_docstring(node):
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.Assign | None:
        return ast.Assign([node.target], node.value, lineno=0) if node.value else None


def code_of(source: str) -> dict[str, str]:
    """The classes and functions of `source` by name, without types, docstrings, comments and line breaks."""
    tree = WithoutTypesAndDocstrings().visit(ast.parse(source))
    return {node.name: ast.unparse(node) for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def written_in(notebook: str) -> dict[str, str]:
    cells = nbformat.read(NOTEBOOKS / notebook, as_version=4).cells
    return code_of("\n".join(cell.source for cell in cells if cell.cell_type == "code"))


MODULE = code_of(Path(from_scratch.__file__).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("notebook", "names"),
    [
        ("03_a_coupling_layer_by_hand.ipynb", ["MyCoupling"]),
        ("05_stacking_flows.ipynb", ["MyPermutation", "MyStack"]),
        ("06b_fastflow_from_scratch.ipynb", list(MODULE)),
    ],
)
def test_the_notebooks_and_the_module_are_the_same_code(notebook: str, names: list[str]) -> None:
    written = written_in(notebook)
    for name in names:
        assert written[name] == MODULE[name]


def test_a_difference_would_be_seen() -> None:
    once, twice = code_of("def f(x: int) -> int:\n    '''Doc.'''\n    return x"), code_of("def f(x):\n    return 2 * x")
    assert once == code_of("def f(x):\n    return x  # as it is") != twice


def test_it_stays_small_enough_to_own() -> None:
    lines = [line for code in MODULE.values() for line in code.splitlines() if line.strip()]
    assert len(lines) <= 120


@pytest.fixture
def pair() -> tuple[from_scratch.MyStack, torch.nn.Module]:
    """The learner's flow and the library's, from the same seed."""
    made = []
    for make in (from_scratch.make_flow, flow_steps):
        torch.manual_seed(0)
        made.append(make(5, steps=3, hidden=4, kernels=(3, 1)))
    return made[0], made[1]


def test_the_same_seed_gives_the_same_weights(pair: tuple) -> None:
    mine, theirs = (flow.state_dict() for flow in pair)
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_values_and_gradients_are_those_of_the_library(pair: tuple) -> None:
    mine, theirs = (checks.perturb(flow.double()) for flow in pair)
    x = torch.randn(3, 5, 4, 6, dtype=torch.float64)
    for flow in pair:
        flow.train()(x)  # ActNorm starts
    for found, wanted in ((mine(x), theirs(x)), (mine.inverse(x), theirs.inverse(x))):
        assert all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(found, wanted, strict=True))
    from_scratch.nats_of([mine(x)]).backward()
    nats_per_dim([theirs(x)]).backward()
    assert all(
        torch.allclose(a.grad, b.grad, rtol=1e-8) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True)
    )
    checks.check_inverse(mine, x)
    checks.check_log_det(mine, x[:1])


def images() -> ImageSet:
    return open_dataset("toy", "weave", image_size=SIZE).train.subset(range(12))


@pytest.mark.slow
def test_a_training_leads_to_the_maps_of_the_library() -> None:
    model = FastFlow("resnet18", "bundled", steps=2, map="exp_energy", seed=3)
    torch.manual_seed(3)
    flows = [from_scratch.make_flow(c, steps=2, hidden=max(c // 2, 64)) for c in model.backbone.channels]
    features = from_scratch.features_of(model.backbone, images())
    losses = list(from_scratch.train_flows(flows, features, epochs=2, seed=5))
    history = fit(model, images(), epochs=2, seed=5, progress=False)
    assert losses == pytest.approx(history.bits_per_dim, abs=1e-3)
    batch = torch.stack(list(pictures()))
    with torch.no_grad():
        outputs = [
            flow.eval()(from_scratch.normalized(x)) for flow, x in zip(flows, model.backbone(batch), strict=True)
        ]
        found, wanted = from_scratch.fused_map(outputs, (SIZE, SIZE)), model.predict(batch)[0]
    assert found.shape == wanted.shape and (found - wanted).abs().max() < 1e-2
    assert torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1] > 0.999


def pictures() -> Iterator[Tensor]:
    test = open_dataset("toy", "weave", image_size=SIZE).test
    return (test[k][0] for k in (0, 25))
