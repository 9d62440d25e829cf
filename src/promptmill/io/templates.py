"""Text files with places to fill in that a recipe names: the words around a problem, a judge's task.

Not covered: filling them in, which is up to who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from promptmill.errors import ConfigError


def read_template(path: str, *, key: str, fields: Sequence[str]) -> str:
    """The text of a template.

    Args:
        path: the file.
        key: the key of the recipe that names it.
        fields: what it must have a place for, written in braces.

    Raises:
        ConfigError: it cannot be read, or has no place for a field.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError(f"{key}: {path}: cannot be read: {why}. Name a text file.") from error
    for name in fields:
        if f"{{{name}}}" not in text:
            raise ConfigError(f"{key}: {path}: has no '{{{name}}}' in it. Write it where it goes.")
    return text
