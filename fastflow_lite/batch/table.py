"""Records as a pandas table: one row for each run, and over several seeds the mean and spread."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastflow_lite.batch.records import FACTS, OWN, Records, read_records
from fastflow_lite.errors import no_formula, printable
from fastflow_lite.files import METRIC_TITLES, write_atomically

if TYPE_CHECKING:
    import pandas as pd

ROUNDED = ("seconds", "memory_mib", "file_mib")  # to whole numbers


def table(folder: str | Path) -> pd.DataFrame:
    """Return one row for each finished run below `folder`: parameters, metrics, seconds, memory, size, epochs, weights.

    Undefined metrics are nan. A file that cannot be read is named in a warning and its run left out. DataError
    when there is no record at all.
    """
    records = read_records(Path(folder))
    for problem in records.unreadable:
        warnings.warn(f"left out: {problem}", stacklevel=2)
    return frame(records)


def means(runs: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Compute mean, standard deviation (of n - 1) and n of each metric over rows with the same values in `by`.

    An undefined metric counts in none of the three; a single run has no spread (nan). Nothing in `by`: all rows.
    """
    import pandas as pd

    rows = []
    for values, group in runs.groupby(list(by), dropna=False, sort=False) if by else [((), runs)]:
        row = dict(zip(by, values, strict=True)) | {"runs": len(group)}
        for name in METRIC_TITLES:
            metric = group[name].astype(float)
            row |= {name: metric.mean(), f"{name}_std": metric.std(), f"{name}_n": int(metric.count())}
        rows.append(row)
    return pd.DataFrame(rows)


def half_width(std: float, n: int) -> float:
    """Compute half of Student's 95 % interval for the mean of `n` runs with standard deviation `std` (of n - 1).

    It is nan for one run.

    >>> round(half_width(0.01, 3), 4)
    0.0248
    """
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1) * std / math.sqrt(n)) if n > 1 else math.nan


def varying(runs: pd.DataFrame) -> list[str]:
    """Return the parameters in which the rows of `table` differ."""
    return [name for name in parameter_names(runs) if runs[name].map(repr).nunique() > 1]


def parameter_names(runs: pd.DataFrame) -> list[str]:
    """Return the columns of `table` that are parameters, and `run`."""
    return [name for name in runs.columns if name not in OWN]


def frame(records: Records) -> pd.DataFrame:
    """Return the rows of `records` as a table. A seed stays an integer where other runs have none."""
    import pandas as pd

    runs = pd.DataFrame(records.rows, columns=["run", *records.parameters, *METRIC_TITLES, *FACTS], dtype=object)
    numbers = [*METRIC_TITLES, *ROUNDED]
    runs[numbers] = runs[numbers].astype(float)
    return runs


def markdown(frame: pd.DataFrame) -> str:
    r"""Format a table as Markdown: three decimals for metrics, `-` for undefined values.

    >>> import pandas as pd
    >>> print(markdown(pd.DataFrame({"category": ["bottle", "a|b"], "image_auroc": [0.98765, float("nan")]})))
    | category   | image AUROC   |
    |------------|---------------|
    | bottle     | 0.988         |
    | a\|b       | -             |
    """
    cells = frame.astype(object)
    for name in frame.columns:
        cells[name] = [_cell(name, value) for value in frame[name]]
    titles = [METRIC_TITLES.get(name, _cell("", name.replace("_", " "))) for name in frame.columns]
    return cells.to_markdown(index=False, headers=titles, tablefmt="github", disable_numparse=True)


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if name in METRIC_TITLES else f"{value:.0f}" if name in ROUNDED else f"{value:g}"
    return printable(str(value)).replace("|", "\\|").replace("\n", " ").replace("\t", " ")


def to_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV, whole or not at all. See `no_formula`: parameters and names come from elsewhere."""
    cells = frame.rename(columns=no_formula)
    for name, kind in cells.dtypes.items():
        if kind.kind not in "biuf":
            cells[name] = [no_formula(value) for value in cells[name]]
    write_atomically(Path(path), lambda place: cells.to_csv(place, index=False, errors="backslashreplace"))


def with_spread(summary: pd.DataFrame) -> pd.DataFrame:
    """Format the table of `means`: "0.981 ± 0.004" in one cell, with n where it is below the number of runs.

    A metric that no run has gets no column.
    """
    shown = summary.drop(columns=[f"{name}{end}" for name in METRIC_TITLES for end in ("", "_std", "_n")])
    known = [name for name in METRIC_TITLES if summary[f"{name}_n"].any()]
    for name in known:
        columns = zip(summary[name], summary[f"{name}_std"], summary[f"{name}_n"], summary["runs"], strict=True)
        shown[name] = [_spread(*cells) for cells in columns]
    return shown


def _spread(mean: float, std: float, n: int, runs: int) -> str:
    spread = "" if math.isnan(std) else f" ± {std:.3f}"
    return "-" if not n else f"{mean:.3f}{spread}{f' (n={n})' if n < runs else ''}"
