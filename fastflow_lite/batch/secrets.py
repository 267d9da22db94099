"""Parameters whose names are those of secrets: their values are kept out of records, folder names and notebooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "masked"
WORDS = r"pass(?:word|wd|phrase|code)s?|pwd|secrets?|credentials?|(?:api|access|auth|private)?(?:keys?|token)"
SECRET = re.compile(rf"(?:^|[_-])(?:{WORDS})(?:$|[_-])", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Return whether a parameter of that name holds a secret.

    >>> [is_secret(name) for name in ("hf_token", "apiKey", "db_password", "max_tokens", "monkey")]
    [True, True, True, False, False]
    """
    return SECRET.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)) is not None


def masked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return `parameters` with a fixed word instead of each secret."""
    return {name: MASK if is_secret(name) and value else value for name, value in parameters.items()}


def masked_text(text: str, parameters: Mapping[str, Any]) -> str:
    """Return `text` without the secrets among `parameters`."""
    for name, value in parameters.items():
        if is_secret(name) and value:
            text = text.replace(str(value), MASK)
    return text


def mask_notebook(notebook: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    """Mask the secrets among `parameters` in the cell and the metadata that papermill added to a notebook."""
    names = "|".join(re.escape(name) for name in parameters if is_secret(name))
    noted = notebook["metadata"].get("papermill", {})
    noted["parameters"] = masked(noted.get("parameters") or {})
    for cell in notebook["cells"]:
        if names and "injected-parameters" in cell["metadata"].get("tags", []):
            cell["source"] = re.sub(rf"(?m)^({names}) = .*$", rf'\1 = "{MASK}"', "".join(cell["source"]))
