"""The stages `prompts` and `generate` of a recipe, as `promptmill lengths generate` runs them, without the slices.

    python benchmarks/load/ours.py RECIPE OUT [plain]

The last figures of the progress go to OUT/asked.json: how long was asked, without start-up.
`plain` hides the extra `fast`: asyncio's own loop.
"""

import sys

if sys.argv[3:] == ["plain"]:
    sys.modules["uvloop"] = None

import json
from pathlib import Path

from promptmill import config
from promptmill.cli.screen import Screen
from promptmill.workflows import lengths


class Noting(Screen):
    """A screen that keeps the last progress."""

    facts = None

    def progress(self, facts):  # noqa: D102 - as Reporter has it
        self.facts = facts
        super().progress(facts)


def main():
    recipe = config.check(config.read_recipe(Path(sys.argv[1])), lengths.Lengths)
    with Noting() as screen:
        counts = lengths.run(recipe, Path(sys.argv[2]), only=("prompts", "generate"), reporter=screen)
    (Path(sys.argv[2]) / "asked.json").write_text(json.dumps(screen.facts))
    made = counts["generate"]
    assert made["completions"] == made["requests"], made


if __name__ == "__main__":
    main()
