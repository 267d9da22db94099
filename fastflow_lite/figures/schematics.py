"""Schematics of the flow: a coupling, one step, the stack. The method as a whole is in `method_schematics`.

A color means the same in all of them: green is half a, violet half b and what a flow computes, gold a trained sub-net,
gray what is fixed. Each function returns a `Drawing`, which a notebook shows as SVG.
"""

from __future__ import annotations

from fastflow_lite.figures.drawing import SMALL, Drawing
from fastflow_lite.figures.style import ACCENT, GOLD, GREEN, VIOLET

HALF_A, HALF_B, SUBNET = GREEN, VIOLET, GOLD
ORDER = (3, 0, 5, 2, 4, 1)  # the permutation that `step` draws


def coupling() -> Drawing:
    """Draw a coupling forward and backward: half a passes, and the sub-net reads it to scale and shift half b."""
    drawing = Drawing(
        820,
        520,
        "A coupling. Forward: half a passes; a sub-net reads it and gives s and t; half b is multiplied by exp(s), "
        "then t is added. Inverse: the same sub-net reads the same half a; t is subtracted from half b, then it is "
        "divided by exp(s).",
    )
    _coupling_row(
        drawing, 16, ("x", "z"), "Forward", (("×", "*e*^s"), ("+", "*t*")), "log|det| = sum of *s* over half b"
    )
    drawing.line((30, 262), (790, 262), dash="4 6", width=1)
    signs = (("−", "*t*"), ("×", "*e*^{−s}"))
    _coupling_row(drawing, 272, ("z", "x"), "Inverse", signs, "log|det| = −(sum of *s* over half b)")
    return drawing


def _coupling_row(
    drawing: Drawing, top: float, names: tuple[str, str], title: str, signs: tuple[tuple[str, str], ...], log_det: str
) -> None:
    """Draw one direction of a coupling below `top`: from the vector of the first name to that of the second."""
    above, middle, below = top + 58, top + 118, top + 188
    drawing.text(30, top + 14, f"{title}: *{names[0]}* to *{names[1]}*", anchor="start", bold=True)
    for x, name in zip((30, 730), names, strict=True):
        drawing.box(x, above - 22, 60, 44, f"*{name}*_a", HALF_A)
        drawing.box(x, below - 22, 60, 44, f"*{name}*_b", HALF_B)
    drawing.arrow((90, above), (730, above), color=HALF_A)
    drawing.text(410, above - 14, "half a passes unchanged", size=SMALL)
    drawing.arrow((170, above), (170, middle), (210, middle), color=HALF_A)
    drawing.box(210, middle - 24, 120, 48, "sub-net\n(always forward)", SUBNET, size=SMALL)
    drawing.arrow((330, middle), (374, middle))
    drawing.box(374, middle - 24, 150, 48, "clamp: *s* =\n*c* tanh(raw / *c*)", ACCENT, size=SMALL)
    _scale_and_shift(drawing, middle, below, signs)
    drawing.text(410, below + 44, log_det)


def _scale_and_shift(drawing: Drawing, middle: float, below: float, signs: tuple[tuple[str, str], ...]) -> None:
    """Draw the way of half b through its two operations; `signs` are their signs and operands, in order."""
    places = (590.0, 668.0)
    drawing.line((90, below), (places[0] - 15, below), color=HALF_B)
    drawing.arrow((places[0] + 15, below), (places[1] - 15, below), color=HALF_B)
    drawing.arrow((places[1] + 15, below), (730, below), color=HALF_B)
    for place, (sign, operand) in zip(places, signs, strict=True):
        drawing.circle(place, below, 15, sign, color=HALF_B)
        of_s = operand != "*t*"
        way = ((524, middle - 8), (place, middle - 8)) if of_s else ((270, middle + 24), (270, middle + 36))
        if not of_s:
            way = (*way, (place, middle + 36))
        drawing.arrow(*way, (place, below - 15))
        drawing.text(place, below + 32, operand)


def step() -> Drawing:
    """Draw one step of the flow on the channels of one position: ActNorm, permutation, coupling, with log-dets."""
    drawing = Drawing(
        820,
        400,
        "One step of a flow for one position with six channels. ActNorm scales and shifts each channel; a fixed "
        "permutation reorders them; a coupling changes the lower half, reading the upper half. The log-determinants of "
        "the three are the sum of the log-scales, zero, and the sum of s.",
    )
    plain = range(6)
    for x, order, colors in (
        (40, plain, [ACCENT] * 6),
        (300, plain, [ACCENT] * 6),
        (470, ORDER, [HALF_A] * 3 + [HALF_B] * 3),
        (730, ORDER, [HALF_A] * 3 + [HALF_B] * 3),
    ):
        for row, (channel, color) in enumerate(zip(order, colors, strict=True)):
            drawing.box(x, 70 + 34 * row, 50, 30, f"{channel + 1}", color)
    for x, name in ((65, "*x*"), (755, "*z*")):
        drawing.text(x, 50, name, bold=True)
    for x, title in ((195, "1. ActNorm"), (410, "2. Permutation"), (625, "3. Coupling")):
        drawing.text(x, 24, title, bold=True)
    _step_arrows(drawing)
    log_dets = ((195, "sum of the log-scales *a*"), (410, "0"), (625, "sum of *s* over half b"))
    drawing.line((40, 296), (780, 296), dash="4 6", width=1)
    drawing.text(40, 318, "log|det| at this position, in nats:", anchor="start", size=SMALL)
    for x, log_det in log_dets:
        drawing.text(x, 344, log_det)
    for x in (318, 500):
        drawing.text(x, 344, "+")
    drawing.text(
        410, 380, "The same weights at every position of the map; neighbors enter through the sub-net only.", size=SMALL
    )
    return drawing


def _step_arrows(drawing: Drawing) -> None:
    """Draw what each of the three transforms does between the columns of channels of `step`."""
    for row in range(6):
        height = 85 + 34 * row
        drawing.line((90, height), (118, height))
        drawing.arrow((272, height), (300, height))
        drawing.arrow((350, 85 + 34 * ORDER[row]), (470, height))
        color = HALF_A if row < 3 else HALF_B
        drawing.line((520, height), (556, height), color=color)
        drawing.arrow((694, height), (730, height), color=color)
    drawing.box(
        118,
        66,
        154,
        212,
        "channel by channel\n*x* · *e*^a + *b*\n\n*a*, *b* learned,\nset by the first batch",
        SUBNET,
        size=SMALL,
    )
    drawing.box(556, 66, 138, 110, "half a passes\n\n↓ sub-net: *s*, *t*", HALF_A, size=SMALL)
    drawing.box(556, 178, 138, 100, "*x*_b · *e*^s + *t*", HALF_B)


def stack() -> Drawing:
    """Draw the flow of one scale: K steps, sub-nets of 3x3 and 1x1 in turn, the log-dets added, and the loss."""
    drawing = Drawing(
        820,
        400,
        "The flow of one feature map: K steps in a row. Sub-nets of 3 by 3 and of 1 by 1 take turns. The log-dets "
        "of the steps are added. The loss of a position is half the sum of z squared minus the log-determinant. "
        "Backward, the steps are inverted from the last to the first.",
    )
    _volume(drawing, 24, 96, ACCENT, "*x*")
    steps = ((150, "step 1", "3×3"), (280, "step 2", "1×1"), (410, "step 3", "3×3"), (590, "step *K*", "1×1"))
    ends = [104, *(x + 90 for x, *_ in steps)]
    for (x, name, kernel), before in zip(steps, ends[:-1], strict=True):
        drawing.box(x, 92, 90, 76, f"{name}\nsub-net\n{kernel}", HALF_B)
        drawing.arrow((before, 130), (x, 130))
    drawing.bar(530, 120, 32, 20, "white")
    drawing.text(546, 128, "…", bold=True)
    drawing.arrow((680, 130), (722, 130))
    _volume(drawing, 722, 96, HALF_B, "*z*")
    drawing.arrow((745, 84), (745, 52), (60, 52), (60, 84), dash="6 5")
    drawing.text(410, 34, "Inverse: each step is undone, the last one first. Samples are made this way.", size=SMALL)
    for x, *_ in steps:
        drawing.arrow((x + 45, 168), (x + 45, 226))
        drawing.text(x + 51, 200, "log|det|", anchor="start", size=SMALL)
    drawing.box(150, 226, 530, 40, "sum over the steps: one log|det| at each position, (*H*, *W*)", HALF_B)
    drawing.arrow((415, 266), (415, 310))
    drawing.arrow((752, 196), (752, 328), (700, 328))
    drawing.box(
        130, 310, 570, 40, "loss of a position = ½ · (sum of *z*^2 over channels) − log|det| + constant", ACCENT
    )
    drawing.text(415, 376, "Training lowers the mean of this loss over normal images: no defect is needed.", size=SMALL)
    return drawing


def _volume(drawing: Drawing, x: float, y: float, color: str, name: str) -> None:
    """Draw a feature map as a pile of channels with its name, and the shape below."""
    for k in (2, 1, 0):
        drawing.bar(x + 8 * k, y + 12 - 6 * k, 60, 60, color, 0.35)
    drawing.text(x + 30, y + 42, name, bold=True)
    drawing.text(x + 36, y + 88, "*C* × *H* × *W*", size=SMALL)
