"""The records of `quick.py` over time: which numbers moved since the last record by more than the noise.

A record is one line of results/history.jsonl: day, git revision, machine, versions, and each number with its standard
error within the run. What could not be measured is in "missing", with the reason. Standard library only, since the
documentation is built with this file.

The noise of a change is three standard deviations of the difference of two records. That of one record is its standard
error within the run or, if larger, the deviation of runs of one and the same revision from each other, once records
tell it (`between_runs`); and a change below `least` of the value is never called a move.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

HISTORY = Path(__file__).resolve().parent / "results" / "history.jsonl"
DEVIATIONS = 3.0
RUNS = 3  # of one revision, from which on their deviation counts
MOVED = {True: "moved, better", False: "moved, worse"}
WITHIN, FIRST, MISSING = "within noise", "no record to compare", "not measured"


@dataclass(frozen=True)
class Quantity:
    """A number that is recorded.

    Attributes:
        name: Its key in records.
        meaning: What it is, in words, with its unit.
        higher_is_better: Whether a larger value is better.
        of_machine: Whether it depends on the machine, so that it is compared with records of the same machine alone.
        least: Share of the value below which a change is never called a move.
        digits: Decimals that are shown.
    """

    name: str
    meaning: str
    higher_is_better: bool
    of_machine: bool = False
    least: float = 0.0
    digits: int = 3


SPEED = "times as fast as"
QUANTITIES = (
    Quantity("training step", f"{SPEED} anomalib's operators in plain torch", True, least=0.02, digits=2),
    Quantity("inference", f"{SPEED} anomalib's operators in plain torch", True, least=0.02, digits=2),
    Quantity("training step, anomalib", f"{SPEED} anomalib's own model", True, least=0.02, digits=2),
    Quantity("inference, anomalib", f"{SPEED} anomalib's own model", True, least=0.02, digits=2),
    Quantity("maps and scores", f"{SPEED} SciPy's Gaussian filter of the same maps", True, least=0.02, digits=2),
    Quantity("pixel metrics", f"{SPEED} scikit-learn's AUROC and one argsort for AUPRO", True, least=0.02, digits=1),
    Quantity("import", "processor time, times that of importing torch", False, least=0.02, digits=2),
    Quantity("training memory", "peak MiB of a process that trains", False, of_machine=True, least=0.01, digits=0),
    Quantity("prediction memory", "peak MiB of a process that predicts", False, of_machine=True, least=0.01, digits=0),
    Quantity("model file", "MiB of a saved model", False, least=0.001, digits=2),
    Quantity("image AUROC", "toy weave and part, mean of three seeds", True, digits=4),
    Quantity("pixel AUROC", "toy weave and part, mean of three seeds", True, digits=4),
    Quantity("AUPRO", "toy weave and part, mean of three seeds", True, digits=4),
)


@dataclass(frozen=True)
class Number:
    """A measured value and its standard error within the run."""

    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Record:
    """One run of `quick.py`. `date` is a day, `machine` words, `note` what a reader must know of this record."""

    date: str
    revision: str | None
    machine: str
    versions: dict[str, str | None]
    numbers: dict[str, Number]
    missing: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Read a line of the history."""
        content = json.loads(line)
        numbers = {name: Number(**number) for name, number in content.pop("numbers").items()}
        return cls(numbers=numbers, **content)

    def to_line(self) -> str:
        """Return the record as a line of the history."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Change:
    """A number beside its last record. `noise` is how far the two may differ by chance."""

    quantity: Quantity
    last: float | None
    now: float | None
    noise: float | None
    verdict: str


def read(path: Path | None = None) -> list[Record]:
    """Return the records of a history (default: `HISTORY`), oldest first; none where there is no file."""
    path = path or HISTORY
    if not path.exists():
        return []
    return [Record.from_line(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def compare(now: Record, records: Sequence[Record]) -> list[Change]:
    """Return every quantity of `now` beside the last of `records` that it may be compared with."""
    return [_change(quantity, now, comparable(quantity, records, now.machine)) for quantity in QUANTITIES]


def comparable(quantity: Quantity, records: Sequence[Record], machine: str) -> list[Record]:
    """Return the records that have the quantity, of the same machine where it depends on that."""
    having = [record for record in records if quantity.name in record.numbers]
    return [record for record in having if record.machine == machine or not quantity.of_machine]


def _change(quantity: Quantity, now: Record, records: Sequence[Record]) -> Change:
    last = records[-1].numbers[quantity.name] if records else None
    found = now.numbers.get(quantity.name)
    if found is None or last is None:
        verdict = MISSING if found is None else FIRST
        return Change(quantity, last.value if last else None, found.value if found else None, None, verdict)
    noise = noise_of(quantity, found, last, between_runs(quantity, [*records, now]))
    change = found.value - last.value
    verdict = MOVED[(change > 0) is quantity.higher_is_better] if abs(change) > noise else WITHIN
    return Change(quantity, last.value, found.value, noise, verdict)


def noise_of(quantity: Quantity, now: Number, last: Number, between: float) -> float:
    """Return how far two records may differ by chance."""
    errors = (max(number.error, between) for number in (now, last))
    return max(DEVIATIONS * math.hypot(*errors), quantity.least * abs(last.value))


def between_runs(quantity: Quantity, records: Sequence[Record]) -> float:
    """Return the standard deviation of runs of one revision on one machine, pooled over revisions.

    0 where no more than two runs would tell it. A tree with changes that are not committed is no revision.
    """
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        if record.revision and not record.revision.endswith("+"):
            groups[record.revision, record.machine].append(record.numbers[quantity.name].value)
    repeated = [values for values in groups.values() if len(values) > 1]
    if sum(map(len, repeated)) < RUNS:
        return 0.0
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in repeated)
    return math.sqrt(squares / sum(len(values) - 1 for values in repeated))


def described(record: Record) -> str:
    """Return the day, the revision and the machine of a record in words."""
    versions = ", ".join(f"{name} {record.versions.get(name)}" for name in ("python", "torch"))
    note = f"; {record.note}" if record.note else ""
    return f"{record.date}, revision {record.revision or 'unknown'}, {record.machine}, {versions}{note}"


def rows(changes: Sequence[Change]) -> list[dict[str, str]]:
    """Return one row of the table for each quantity."""
    found = []
    for change in changes:
        quantity, text = change.quantity, f".{change.quantity.digits}f"
        known = change.now is not None and change.last is not None
        found.append(
            {
                "number": quantity.name,
                "last": "" if change.last is None else format(change.last, text),
                "now": "" if change.now is None else format(change.now, text),
                "change": format((change.now or 0) - (change.last or 0), "+" + text) if known else "",
                "noise": "" if change.noise is None else format(change.noise, text),
                "verdict": change.verdict,
                "what it is": quantity.meaning,
            }
        )
    return found
