"""The formulas of a page as MathML, which browsers draw without a script."""

from __future__ import annotations

import re

PARTS = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|\$\$(?P<display>[^$]+)\$\$|\$(?P<inline>[^$\n]+)\$",
    flags=re.DOTALL,
)
# Signs that mean something in Markdown are written as numbers inside a formula, else `_` in two of them is emphasis.
SIGNS = str.maketrans({sign: f"&#{ord(sign)};" for sign in "*_[]|`~"})


def with_formulas(text: str, page: str = "") -> str:
    """Return a page with each `$formula$` and `$$formula$$` as MathML.

    Code is left alone. An error names the page and a formula that cannot be converted.
    """

    def drawn(match: re.Match[str]) -> str:
        return match["code"] or _mathml(match["display"] or match["inline"], bool(match["display"]), page)

    return PARTS.sub(drawn, text)


def _mathml(formula: str, display: bool, page: str) -> str:
    """Return a formula in a `span`: `math` at the start of a line would end the paragraph."""
    from latex2mathml.converter import convert

    fault = f"{page}: a formula cannot be read: {formula}".removeprefix(": ")
    try:
        made = str(convert(formula.strip(), display="block" if display else "inline")).replace("\\_", "_")
    except Exception as error:  # the converter has no common error class
        raise SystemExit(f"{fault} ({error!r})") from error
    if "\\" in made:  # a command that the converter does not have is left as it was
        raise SystemExit(fault)
    made = re.sub(r">[^<]+<", lambda text: text[0].translate(SIGNS), made.replace("\n", ""))
    return f'<span class="formula{" display" if display else ""}">{made}</span>'
