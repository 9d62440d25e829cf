"""The stages `prompts` and `generate` of a recipe, as `promptmill lengths generate` runs them, without the slices.

    python benchmarks/load/ours.py RECIPE OUT [plain]

`plain` hides the extra `fast`: aiohttp in asyncio's own loop.
"""

import sys

if sys.argv[3:] == ["plain"]:
    sys.modules["uvloop"] = sys.modules["pyreqwest"] = None

from pathlib import Path

from promptmill import config
from promptmill.cli.screen import Screen
from promptmill.workflows import lengths


def main():
    recipe = config.check(config.read_recipe(Path(sys.argv[1])), lengths.Lengths)
    with Screen() as screen:
        counts = lengths.run(recipe, Path(sys.argv[2]), only=("prompts", "generate"), reporter=screen)
    made = counts["generate"]
    assert made["completions"] == made["requests"], made


if __name__ == "__main__":
    main()
