"""`fastflow-lite drift`: whether the false alarm rate that a detector promised still holds, from the log of its use.

fastflow-lite predict part.safetensors photos/ --log runs.sqlite
fastflow-lite drift runs.sqlite --figure drift.png
"""

from __future__ import annotations

import argparse
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fastflow_lite.errors import ArgumentError, printable

if TYPE_CHECKING:
    import numpy as np

    from fastflow_lite.detection.drift import AlarmRate, Drift

DRIFT_STATUS = 3
NOTE = """\
Each of the two tests warns falsely in at most 1% of logs, however often they are read; images must be independent.
A defect counts as an alarm, unless the column `defect` of the log is 1. After a repair, --since TIME tests only what
follows."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fastflow-lite drift`."""
    parser.add_argument("log", type=Path, help="the file that `fastflow-lite predict --log` wrote")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw scores and evidence to FILE (.png, .pdf, .svg)"
    )
    parser.add_argument("--since", metavar="TIME", help="only images from this time on, UTC, as 2026-11-01T08:00")
    parser.add_argument(
        "--fail-on-drift", action="store_true", help=f"end with status {DRIFT_STATUS} where a test finds drift"
    )


def run(args: argparse.Namespace) -> int:
    """Print what the log shows of each detector; return 0, or 3 with `--fail-on-drift` where one has drifted."""
    from fastflow_lite.detection.drift import Drift
    from fastflow_lite.detection.run_log import read_log

    if args.figure is not None:
        _check_figure(args.figure)
    logs = read_log(args.log, None if args.since is None else _time(args.since))
    drifts = [Drift(log) for log in logs if len(log.times)]
    if not drifts:
        print(printable(f"{args.log} holds no image" + ("" if args.since is None else f" since {args.since}")))
        return 0
    for drift in drifts:
        print("\n".join(_described(drift)), end="\n\n")
    print(NOTE)
    if args.figure is not None:
        _draw(drifts, args.figure)
    moved = any(drift.rate_broken is not None or drift.scores_moved is not None for drift in drifts)
    return DRIFT_STATUS if args.fail_on_drift and moved else 0


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentError(f"--since must be a time as 2026-11-01 or 2026-11-01T08:00, got {text!r}") from None


def _title(drift: Drift) -> str:
    return f"detector {drift.log.fingerprint[:8]}"


def _described(drift: Drift) -> list[str]:
    """Return the lines about one detector."""
    log = drift.log
    left_out = [f"{n:,} {what}" for n, what in ((log.repeated, "judged again"), (log.defects, "known defects")) if n]
    period = f"{_moment(log.times[0])} to {_moment(log.times[-1])} UTC"
    promised = f"no rate: the rule {log.rule} aims at none"
    if log.promised_rate is not None:
        low, high = drift.expected
        promised = f"{log.promised_rate:.1%} of good images; for this calibration, with a probability of 95%, between "
        promised += f"{low:.1%} and {high:.1%}"
    first, second = _verdict(drift)
    return [
        printable(f"{_title(drift)}: {log.rule} threshold, {len(log.normal_scores):,} images of calibration"),
        f"  images     {len(log.times):,}, {period}" + (f"; left out: {', '.join(left_out)}" if left_out else ""),
        f"  alarms     {_rate(drift.rate, log.promised_rate)}",
        f"  last {drift.recent.images:<5} {_rate(drift.recent, log.promised_rate)}",
        f"  promised   {promised}",
        f"  verdict    {first}",
        f"             {second}",
    ]


def _moment(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]")).replace("T", " ")


def _rate(rate: AlarmRate, promised: float | None) -> str:
    text = f"{rate.alarms:,} of {rate.images:,} = {rate.rate:.1%} (95% interval {rate.low:.1%} to {rate.high:.1%})"
    return text if promised is None else f"{text}; probability of as many or more without drift: {rate.p_value:.2g}"


def _verdict(drift: Drift) -> tuple[str, str]:
    """Return two sentences: whether the promised rate holds, and what the scores without alarm add."""
    broken, moved = drift.rate_broken, drift.scores_moved
    direction = "higher" if drift.moved_up else "lower"
    scores = "" if moved is None else f"are {direction} than in the calibration since {_at(drift, moved)}"
    if broken is not None:
        first = f"NO LONGER HOLDS since {_at(drift, broken)}: alarms are more frequent than promised."
        if moved is None:
            return first, "Scores without alarm have not moved: see first whether the alarms are true defects."
        return first, f"Scores without alarm {scores}: calibrate with good images of now."
    first = "holds: the alarms do not contradict the promised rate."
    if drift.log.promised_rate is None:
        first = f"The rule {drift.log.rule} promises no rate that could be tested."
    if moved is None:
        return first, "Scores without alarm are like those of the calibration."
    follows = "false alarms will become more frequent" if drift.moved_up else "defects may stay below the threshold"
    return first, f"SCORES MOVED: without alarm, they {scores}; {follows}."


def _at(drift: Drift, position: int) -> str:
    return f"{_moment(drift.log.times[position])} UTC (image {position + 1:,})"


def _check_figure(path: Path) -> None:
    """Raise ArgumentError, before the log is read, where no figure can be drawn."""
    if find_spec("matplotlib") is None:
        raise ArgumentError("--figure needs matplotlib: pip install 'fastflow-lite[notebooks]'")
    from matplotlib.backend_bases import FigureCanvasBase

    if path.suffix[1:].lower() not in (known := FigureCanvasBase.get_supported_filetypes()):
        raise ArgumentError(f"--figure must end in one of {', '.join(f'.{name}' for name in known)}, got {path}")


def _draw(drifts: list[Drift], path: Path) -> None:
    import matplotlib
    import numpy as np

    from fastflow_lite.detection.drift import LEVEL
    from fastflow_lite.figures import drift as figures
    from fastflow_lite.figures import style
    from fastflow_lite.files import write_atomically

    matplotlib.use("agg")  # no window
    style.use()
    columns = []
    for drift in drifts:
        log = drift.log
        evidence = {"scores without alarm": np.exp(drift.score_evidence)}
        if log.promised_rate is not None:
            evidence = {"alarms": np.exp(drift.alarm_evidence), **evidence}
        scores = (log.normal_scores, log.raw_scores, log.threshold, log.rule)
        columns.append(figures.LoggedDetector(_title(drift), *scores, log.times, evidence))
    figure = figures.drift(columns, 1 / LEVEL)
    write_atomically(path, lambda place: figure.savefig(place, format=path.suffix[1:].lower()))
    print(printable(f"figure: {path}"))
