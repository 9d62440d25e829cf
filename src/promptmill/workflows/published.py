"""Files of a stage that are handed out beside a results file, under its name.

A stage makes its files in its own folder; people find them beside `results.json` as `results_training.jsonl` and
`results_splits/train.jsonl`, so that two runs may write into one folder. What a run hands out it also takes back
before it makes the files anew: rows of other settings must not stand beside today's.
"""

from __future__ import annotations

from pathlib import Path

from promptmill.io.targets import publish


def published(made: Path, results: Path) -> dict[Path, Path]:
    """The files of a stage's folder, sorted, and where each is handed out."""
    found = sorted(path for path in made.rglob("*") if path.is_file())
    return {file: _target(file.relative_to(made), results) for file in found}


def _target(inside: Path, results: Path) -> Path:
    return results.parent / (inside if len(inside.parts) == 1 else f"{results.stem}_{inside}")


def withdraw(made: Path, results: Path) -> None:
    """Remove what was handed out, and the results file itself."""
    for path in (results, *published(made, results).values()):
        path.unlink(missing_ok=True)


def hand_out(made: Path, results: Path) -> int:
    """Hand every file out; return how many."""
    files = published(made, results)
    for file, target in files.items():
        publish(file, target)
    return len(files)


def stands(made: Path, results: Path, *, files: int) -> bool:
    """Whether the results file and all `files` that were handed out are there."""
    targets = published(made, results).values()
    return results.exists() and len(targets) == files and all(path.exists() for path in targets)
