"""How `benchmarks/run.py` ends: each script on its own, and only results are kept."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULT = {"name": "x", "unit": "s", "ours": 1, "peers": {}, "ratio": 2, "goal": 1, "reached": True}
SCRIPTS = {
    "breaks": "raise SystemExit('no')",
    "lacks": "from load.needs import lack\nlack('no data')",
    "misses": f"print({json.dumps(json.dumps({**RESULT, 'reached': False}))})",
    "reaches": f"print('round 1')\nprint({json.dumps(json.dumps(RESULT))})",
    "says_nothing": "",
    "tells": "print('round 1')",
}


def run(folder, *names):
    done = subprocess.run(
        [sys.executable, str(folder / "run.py"), *names],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    table = dict(line.split()[:2] for line in done.stdout.rpartition("\n\n")[2].splitlines()[1:])
    return done.returncode, table


def test_nothing_ends_the_other_scripts_and_only_a_result_is_kept(tmp_path):
    (tmp_path / "load").mkdir()
    shutil.copy(BENCHMARKS / "run.py", tmp_path)
    shutil.copy(BENCHMARKS / "load" / "needs.py", tmp_path / "load")
    for name, text in SCRIPTS.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert run(tmp_path) == (
        1,
        {
            "breaks": "failed",
            "lacks": "skipped",
            "misses": "MISSED",
            "reaches": "reached",
            "says_nothing": "failed",
            "tells": "failed",
        },
    )
    kept = {path.stem: json.loads(path.read_text())["reached"] for path in (tmp_path / "results").iterdir()}
    assert kept == {"misses": False, "reaches": True}
    assert run(tmp_path, "lacks", "misses", "reaches") == (
        0, {"lacks": "skipped", "misses": "MISSED", "reaches": "reached"}
    )  # fmt: skip
