"""Words of notebooks and teaching pages: numbers that the notebook shows, plain words, formulas that render."""

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))
PAGES = sorted(page for page in (HERE / "teaching").glob("*.md") if page.stem != "README")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def cells_of(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def prose_of(path: Path) -> str:
    return "\n\n".join(cell["source"] for cell in cells_of(path) if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_sources_hold_no_control_characters(path: Path) -> None:
    r"""A Python string in place of a raw one turns `\rvert` into a carriage return, and the formula does not render."""
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else "\n".join(c["source"] for c in cells_of(path))
    assert not [line for line in text.split("\n") if re.search(r"[\x00-\x1f\x7f]", line)]


@each
def test_dollars_come_in_pairs(path: Path) -> None:
    for cell in cells_of(path):
        if cell["cell_type"] == "markdown":
            text = re.sub(r"```.*?```|`[^`\n]*`|<code>.*?</code>", "", cell["source"], flags=re.DOTALL)
            assert text.count("$") % 2 == 0, cell["source"][:200]


# Numbers ---------------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]|\.\d)")
QUOTED = re.compile(r"(?<![\w.,/-])(\d+\.\d+|\d+(?= ?\\?%))(?!\d|\.\d|[-\w])( ?\\?%)?")
NOT_QUOTED = re.compile(
    r"```.*?```|`[^`\n]*`|<code>.*?</code>"  # code
    r"|arXiv[: ]+[\d.]+(?:, [\d.]+)*"  # numbers of papers
    r"|(?:[Ss]ections?|[Tt]ables?|[Ee]xercises?) \d+\.\d+(?:(?:, | and )\d+\.\d+)*"
    r"|\*\*\d+\.\d\*\*|\*\*\d+\.\d ·"  # exercises, by number
    r"|v0\.1|torch 2\.\d+|CC BY-NC-SA 4\.0",
    re.DOTALL,
)
# Numbers that no cell shows, each with the reason; of a notebook and of its teaching page.
UNSHOWN: dict[str, dict[str, str]] = {
    "05": {"7.4": "e^2, the largest factor of a clamped step", "7.38": "the same"},
    "06b": {"2.05": "half of log2(2 pi e), the bits of a standard normal value"},
    "07": {"2.05": "the same"},
    "09": {"0.83": "a wrong guess", "0.87": "a wrong guess"},
    "10": {"99.9": "the quantile that `evaluate` takes for pixels"},
    "14": {"95": "the certainty of Student's interval; the code has its quantile, 0.975"},
    "A1": {"1.28": "millions of images in ImageNet"},
}


def numbers_of(cells: list[dict[str, Any]], outputs: bool = True) -> list[float]:
    """Return every number in the code of cells, and in their outputs."""
    texts = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    for cell in cells if outputs else []:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts += [
                "".join(t) for t in (output.get("text", []), data.get("text/plain", []), data.get("text/markdown", []))
            ]
    return [float(found[0]) for text in texts for found in NUMBER.finditer(text)]


def quoted_numbers(text: str) -> list[tuple[str, bool]]:
    """Return the decimal numbers and the percentages of a text, and whether each is a percentage."""
    return [(found[1], bool(found[2])) for found in QUOTED.finditer(NOT_QUOTED.sub(" ", text))]


def is_shown(number: str, percent: bool, shown: list[float]) -> bool:
    """Return whether a shown number rounds to this one."""
    value, half = float(number), 0.5 * 10.0 ** -len(number.partition(".")[2])
    scales = (1, 0.01) if percent else (1,)
    return any(abs(abs(other) - value * scale) <= half * scale * 1.001 for other in shown for scale in scales)


def unshown(text: str, path: Path) -> list[str]:
    shown, known = numbers_of(cells_of(path)), UNSHOWN.get(path.stem.split("_")[0], {})
    return [n for n, percent in quoted_numbers(text) if n not in known and not is_shown(n, percent, shown)]


# Numbers of the prose that only the output of a section farther away shows.
FAR = {
    "05": {"2.70": "a table of section 5, which the sentence names"},
    "09": {"1.47": "in the table of all symbols", "90": "between the quantiles 0.05 and 0.95"},
    "10": {"0.4": "a setting of the recipe"},
    "11": {"0.667": "a row of `published`, named first"},
    "16": {"99.9": "the quantile that marks pixels, by default"},
}


def sections_of(path: Path) -> list[list[dict[str, Any]]]:
    """Return the cells of a notebook in lists that begin at its headings."""
    sections: list[list[dict[str, Any]]] = [[]]
    for cell in cells_of(path):
        if cell["cell_type"] == "markdown" and re.search("^## ", cell["source"], re.MULTILINE):
            sections.append([])
        sections[-1].append(cell)
    return sections


def far_numbers(path: Path) -> list[str]:
    """Return the numbers in the prose of a section that neither it nor the section before shows.

    A decimal number may also stand in any code, and 95 % is everywhere the certainty of an interval.
    """
    far, before, code = [], [], numbers_of([c for c in cells_of(path) if c["cell_type"] == "code"], outputs=False)
    for section in sections_of(path):
        own = numbers_of(section)
        near, before = [*own, *before], own
        prose = "\n\n".join(cell["source"] for cell in section if cell["cell_type"] == "markdown")
        for number, percent in quoted_numbers(prose):
            known = [*near, 0.95] if percent else [*near, *code]
            if not is_shown(number, percent, known):
                far.append(number)
    return far


@each
def test_numbers_in_the_prose_are_shown_by_a_cell(path: Path) -> None:
    assert not unshown(prose_of(path), path)


@each
def test_numbers_in_the_prose_are_shown_nearby(path: Path) -> None:
    name = path.stem.split("_")[0]
    assert set(far_numbers(path)) - UNSHOWN.get(name, {}).keys() == FAR.get(name, {}).keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_numbers_in_teaching_pages_are_shown_by_a_cell(page: Path) -> None:
    (path,) = HERE.glob(f"{page.stem}_*.ipynb")
    goal, *plan, rest = re.split(
        r"^## (?:Timing|Two wrong predictions)", page.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert plan and not unshown(goal + rest, path)


def test_every_exception_is_needed() -> None:
    for name, reasons in UNSHOWN.items():
        (path,) = HERE.glob(f"{name}_*.ipynb")
        page = HERE / "teaching" / f"{name}.md"
        quoted = quoted_numbers(prose_of(path) + page.read_text(encoding="utf-8"))
        needless = {n for n, percent in quoted if is_shown(n, percent, numbers_of(cells_of(path)))} & reasons.keys()
        assert not needless and reasons.keys() <= {n for n, _ in quoted}, f"{name}: {needless or reasons.keys()}"


def test_a_number_that_no_cell_shows_is_noticed() -> None:
    shown = [0.7561, 12.0]
    assert is_shown("0.76", False, shown) and is_shown("0.756", False, shown) and is_shown("75.6", True, shown)
    assert not is_shown("0.75", False, shown) and not is_shown("75.6", False, shown)
    assert quoted_numbers(
        "see arXiv 2111.07677, section 3.3: **1.1 · A** with `0.5` reaches 0.97 or 1.7 % or 67 % of 50"
    ) == [
        ("0.97", False),
        ("1.7", True),
        ("67", True),
    ]
    assert is_shown("67", True, [0.667]) and not is_shown("67", True, [0.85, 0.033])


# Words -----------------------------------------------------------------------------------------------------------

# Words of people for numbers: the technical statement is shorter and can be checked.
FOR_PEOPLE = re.compile(
    r"\b(?:hears?|heard|speaks?|silent|deaf|loud(?:er|est)?|voices?|quiet(?:er|est)?|trembles?|thunder|by heart)\b"
    r"|\b(?:flow|network|sub-net|coupling|backbone|layer|cell|tensor|map|scale|loss|channel|AUROC)s? "
    r"(?:says?|said|knows?|knew|wants?|asks?|tells?|listens?)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_numbers_do_not_speak(path: Path) -> None:
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else prose_of(path)
    assert not [line[:150] for line in re.split(r"(?<=[.?!:]) |\n", text) if FOR_PEOPLE.search(line)]


# Predictions -----------------------------------------------------------------------------------------------------


def guesses(path: Path) -> dict[str, str]:
    """Return variable -> comment of every prediction `my_... = None  # comment`."""
    code = "\n".join(cell["source"] for cell in cells_of(path) if cell["cell_type"] == "code")
    return dict(re.findall(r"^(my_\w+) = None(?:  # (.*))?$", code, re.MULTILINE))


def revealed(path: Path) -> list[tuple[str, ast.expr]]:
    """Return the guess and the truth of every call `reveal(what, guess, truth)`."""
    calls = []
    for cell in cells_of(path):
        if cell["cell_type"] == "code" and "reveal(" in cell["source"]:
            for node in ast.walk(ast.parse(cell["source"])):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reveal":
                    calls.append((ast.unparse(node.args[1]), node.args[2]))
    return calls


def is_text(truth: ast.expr) -> bool:
    """Return whether an expression is clearly a text: a literal, `str(...)`, a label of a table."""
    if isinstance(truth, ast.IfExp):
        return is_text(truth.body)
    if isinstance(truth, ast.Call):
        return getattr(truth.func, "id", getattr(truth.func, "attr", "")) in ("str", "idxmax", "idxmin", "join")
    return isinstance(truth, ast.JoinedStr) or (isinstance(truth, ast.Constant) and isinstance(truth.value, str))


@each
def test_a_number_asked_for_is_not_compared_with_a_text(path: Path) -> None:
    """The comment of a prediction that is a text has examples in quotes."""
    asked = guesses(path)
    assert asked
    for guess, truth in revealed(path):
        assert not (guess in asked and '"' not in asked[guess] and is_text(truth)), f"{guess}: {ast.unparse(truth)}"
        assert guess in asked or guess.isidentifier(), f"{guess} is no plain guess: it would be compared as it is not"


def test_a_text_in_place_of_a_number_is_noticed() -> None:
    for text in ('"1"', "str(x)", 'f"{x:.0e}"', "table.idxmax()", '"x" if a else b'):
        assert is_text(ast.parse(text, mode="eval").body), text
    for number in ("1.0", "float(x)", "factors[table.idxmax()]", "len(x)"):
        assert not is_text(ast.parse(number, mode="eval").body), number
