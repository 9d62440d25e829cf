"""What a benchmark cannot do without and may not be here: real data, a packaged model."""

import os
import sys
from pathlib import Path

MISSING = 77  # the exit status that test harnesses read as "skipped"
DATA = Path(os.environ.get("PROMPTMILL_DATA", Path(__file__).parents[3] / "shared" / "data"))


def data(*names):
    """A folder or file of the real data; without it the script ends as skipped."""
    path = DATA.joinpath(*names)
    if not path.exists():
        lack(f"{path}: is not here. Set PROMPTMILL_DATA to the folder of the real data.")
    return path


def lack(what):
    """End as skipped."""
    print(what, file=sys.stderr)
    sys.exit(MISSING)
