import logging
import subprocess
import sys

import pytest

from promptmill.errors import RunError
from promptmill.generate.control import Limits, Watcher, clear_control, read_control, write_control


def test_what_is_said_is_laid_over_what_stands(tmp_path):
    assert read_control(tmp_path) == Limits()
    write_control(tmp_path, {"concurrency": 64, "max_cost": 20})
    write_control(tmp_path, {"concurrency": "auto", "paused": True})
    assert (tmp_path / "control.json").read_text() == '{"concurrency":"auto","max_cost":20.0,"paused":true}\n'
    assert write_control(tmp_path, {"max_cost": None, "paused": False}) == Limits(concurrency="auto")
    assert read_control(tmp_path) == Limits(concurrency="auto")


def test_yesterdays_words_are_forgotten(tmp_path):
    write_control(tmp_path, {"stop": True})
    clear_control(tmp_path)
    clear_control(tmp_path)
    assert read_control(tmp_path) == Limits()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"concurrency": 0}, "Expected `int` >= 1 - at `$.concurrency`"),
        ({"concurrency": "fast"}, "Invalid enum value 'fast' - at `$.concurrency`"),
        ({"concurrency": True}, "Expected .*, got `bool` - at `$.concurrency`"),
        ({"max_cost": -1}, "Expected `float` > 0.0 - at `$.max_cost`"),
        ({"max_cost": float("inf")}, "max_cost: inf is no limit"),
        ({"max_wall_s": float("nan")}, "(max_wall_s: nan is no limit|Expected `float` > 0.0)"),
        ({"max_tokens": 1.5}, "Expected `int \\| null`, got `float` - at `$.max_tokens`"),
        ({"max_request": 1}, "unknown field `max_request`"),
    ],
)
def test_a_wrong_value_changes_nothing(tmp_path, changes, reason):
    write_control(tmp_path, {"max_requests": 5})
    with pytest.raises(RunError, match=reason.replace("$", r"\$")):
        write_control(tmp_path, changes)
    assert read_control(tmp_path) == Limits(max_requests=5)


def test_the_watcher_tells_each_change_once(tmp_path):
    watcher = Watcher(tmp_path)
    assert watcher.changed() is None
    write_control(tmp_path, {"concurrency": 2})
    assert watcher.changed() == Limits(concurrency=2)
    assert watcher.changed() is None
    write_control(tmp_path, {"concurrency": 3})  # same size, perhaps the same tick of the clock
    assert watcher.changed() == Limits(concurrency=3)
    clear_control(tmp_path)
    assert watcher.changed() == Limits()
    assert watcher.changed() is None
    write_control(tmp_path, {"stop": True})
    assert Watcher(tmp_path).changed() == Limits(stop=True)  # what stands at the first look is news


def lay(folder, text):
    """Replace the file, as whoever steers does: another file, whatever the clock of the disk says."""
    (folder / "next").write_text(text, encoding="latin-1")
    (folder / "next").replace(folder / "control.json")


@pytest.mark.parametrize("text", ['{"concurrency": 6', "", "[]", '{"concurrency": 0}', '{"speed": 9}', "\x00\xff"])
def test_a_wrong_file_is_told_once_and_changes_nothing(tmp_path, caplog, text):
    watcher = Watcher(tmp_path)
    lay(tmp_path, text)
    with caplog.at_level(logging.WARNING, "promptmill"):
        assert [watcher.changed() for _ in range(3)] == [None, None, None]
    assert len(caplog.messages) == 1
    assert f"{tmp_path / 'control.json'}: " in caplog.messages[0]
    assert caplog.messages[0].endswith("The limits stay as they were.")
    with pytest.raises(RunError, match="Mend or remove it"):
        read_control(tmp_path)
    lay(tmp_path, '{"concurrency": 6}')
    assert watcher.changed() == Limits(concurrency=6)


STEER = """
import sys
from pathlib import Path
from promptmill.generate import control

control.PATIENCE_S = 120.0  # the other may stand still while it writes
for number in range(1, 31):
    control.write_control(Path(sys.argv[1]), {sys.argv[2]: number})
"""


def test_two_who_steer_at_once_both_have_their_say(tmp_path):
    steerers = [
        subprocess.Popen([sys.executable, "-c", STEER, str(tmp_path), name]) for name in ("max_tokens", "max_requests")
    ]
    assert [each.wait(120) for each in steerers] == [0, 0]
    assert read_control(tmp_path) == Limits(max_tokens=30, max_requests=30)
