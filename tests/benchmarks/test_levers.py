"""Each lever's log-determinant is exact; the table pairs a lever with the run without it, seed by seed."""

import pytest
import torch
from choose_parts.lever_flow import LEVERS, Lever, LeverFlow, position_codes
from levers import table


@pytest.mark.parametrize("name", LEVERS)
def test_the_log_det_is_that_of_the_jacobian(name: str) -> None:
    torch.manual_seed(0)
    lever = LEVERS[name]
    flow = LeverFlow(4, lever, condition=3 if lever.next_scale else 0, steps=2).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    coarser = torch.randn(1, 3, 2, 2, dtype=torch.float64) if lever.next_scale else None
    flow.eval()
    z, log_det = flow(x, coarser)
    matrix = torch.autograd.functional.jacobian(lambda v: flow(v.reshape(x.shape), coarser)[0].flatten(), x.flatten())
    assert z.shape == x.shape and log_det.shape == (1, 3, 3)
    assert torch.allclose(log_det.sum(), torch.linalg.slogdet(matrix)[1], atol=1e-9)
    assert (log_det != 0).any()


def test_padding_and_conditions_reach_the_sub_nets() -> None:
    x, coarser = torch.randn(1, 4, 3, 3), torch.randn(1, 3, 2, 2)
    flows = [LeverFlow(4, Lever(padding=padding, next_scale=True), 3, steps=2) for padding in ("zeros", "reflect")]
    for parameter in flows[0].parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    flows[1].load_state_dict(flows[0].state_dict())
    plain, reflected = (flow.eval()(x, coarser)[0] for flow in flows)
    assert not torch.allclose(plain, reflected)
    assert not torch.allclose(plain, flows[0](x, 2 * coarser)[0])


def test_position_codes_differ_at_all_positions() -> None:
    codes = position_codes(torch.Size((5, 7)), 2)[0].flatten(1).T
    assert codes.shape == (35, 8)
    assert len(torch.unique(codes.round(decimals=4), dim=0)) == 35


def test_the_table_has_changes_against_the_same_seed() -> None:
    def record(value: float, cost: float) -> dict[str, object]:
        metrics = dict.fromkeys(("image_auroc", "pixel_auroc", "aupro"), value)
        return metrics | {"held_out_bits": [2.0, 1.0], "training_cpu_s": cost}

    records = {
        f"bottle, seed {seed}, scale 3, {lever}": record(value, cost)
        for seed, lever, value, cost in (
            (0, "nothing", 0.5, 1.0),
            (0, "a last ActNorm", 0.6, 2.0),
            (1, "nothing", 0.7, 1.0),
            (1, "a last ActNorm", 0.8, 2.0),
        )
    }
    same = "0.600 | 0.600 | 0.600", "+0.100 ± 0.000 | +0.100 ± 0.000 | +0.100 ± 0.000"
    assert table(records).splitlines()[2:] == [
        f"| bottle | 3 | nothing | 2 | {same[0]} | 2.000, 1.000 | 1.00 |",
        f"| bottle | 3 | a last ActNorm | 2 | {same[1]} | 2.000, 1.000 | 2.00 |",
    ]
