"""Files that are handed to people: checked before work begins, put in place whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from promptmill.errors import ConfigError


def check_target(path: Path) -> None:
    """Find out whether a file can be written there, before anything is paid for.

    Raises:
        ConfigError: it is a folder, its folder is missing, or may not be written.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder. Name a file in it, such as {path / 'results.json'}.")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise ConfigError(f"{path}: {folder} is a file, not a folder. Name another path.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: the folder {folder} may not be written. Name another path or change its rights.")


def publish(made: Path, target: Path) -> None:
    """Put a finished file at `target` as well: a hard link where the disk allows it, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(made, temporary)
    except OSError:  # another disk, or one without links
        shutil.copyfile(made, temporary)
    temporary.replace(target)
