"""What the schematics state is what the flows compute."""

import torch

from fastflow_lite.figures import schematics
from fastflow_lite.flows.steps import flow_steps
from fastflow_lite.flows.transforms import ActNorm, AffineCoupling, Permute


def test_a_step_has_the_three_transforms_in_this_order() -> None:
    assert [type(t) for t in flow_steps(6, 1).transforms] == [ActNorm, Permute, AffineCoupling]
    text = schematics.step().svg()
    assert text.index("1. ActNorm") < text.index("2. Permutation") < text.index("3. Coupling")


def test_the_drawn_permutation_is_one() -> None:
    Permute(torch.tensor(schematics.ORDER))


def test_kernels_take_turns_as_drawn() -> None:
    couplings = [t for t in flow_steps(4, 3).transforms if isinstance(t, AffineCoupling)]
    kernels = [next(m.kernel_size[0] for m in c.modules() if isinstance(m, torch.nn.Conv2d)) for c in couplings]
    text = schematics.stack().svg()
    assert kernels == [3, 1, 3]
    assert text.index("step 1") < text.index("3×3") < text.index("step 2") < text.index("1×1") < text.index("step 3")


def test_the_coupling_has_both_directions() -> None:
    text = schematics.coupling().svg()
    assert "Forward" in text and "Inverse" in text and text.count("always forward") == 2
