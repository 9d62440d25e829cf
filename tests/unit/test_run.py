import json
import subprocess
import sys

import pytest

from promptmill.errors import RunError
from promptmill.run import check_folder, open_run, read_manifest, read_status


def start(path):
    return open_run(path, workflow="lengths", seeds={"sample": 42})


def test_a_finished_stage_is_current_until_its_options_or_those_before_it_change(tmp_path):
    with start(tmp_path / "r") as run:
        run.identify("prompts", {"n": 1})
        run.identify("slices", {"step": 50})
        run.begin("slices")
        assert not run.is_current("slices")
        run.finish("slices", {"rows": 3})
        assert run.is_current("slices")
    with start(tmp_path / "r") as run:
        run.identify("prompts", {"n": 1})
        run.identify("slices", {"step": 50})
        assert run.is_current("slices")
        assert run.counts("slices") == {"rows": 3}
    with start(tmp_path / "r") as run:
        run.identify("prompts", {"n": 2})
        run.identify("slices", {"step": 50})
        assert not run.is_current("slices")


def test_what_changed_is_named(tmp_path):
    with start(tmp_path / "r") as run:
        run.identify("generate", {"model": "a", "sampling": {"temperature": 0.7}})
        run.finish("generate", {})
        run.identify("generate", {"model": "a", "sampling": {"temperature": 0.9}})
        assert run.changed("generate") == ["generate.sampling.temperature: 0.7 -> 0.9"]


def test_a_second_process_is_refused_and_told_the_pid_of_the_first(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom promptmill.run import open_run\n"
        "with open_run(Path(sys.argv[1]), workflow='lengths', seeds={}):\n"
        "    print('open', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "r")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(RunError, match=f"process {holder.pid} works in this folder"), start(tmp_path / "r"):
            pass
    finally:
        holder.communicate("", timeout=120)
    with start(tmp_path / "r"):  # the lock went with its holder
        pass


def test_a_folder_of_another_workflow_or_with_strange_files_is_refused(tmp_path):
    with start(tmp_path / "r") as run:
        run.identify("prompts", {})
        run.finish("prompts", {})
    with (
        pytest.raises(RunError, match="holds a run of 'lengths'"),
        open_run(tmp_path / "r", workflow="answers", seeds={}),
    ):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"is not empty and holds no run \('thesis.tex'"), start(tmp_path / "mine"):
        pass


def test_a_file_in_place_of_the_folder_and_a_damaged_manifest_are_one_line_each(tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(RunError, match="cannot be a run folder"), start(tmp_path / "f"):
        pass
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"), start(tmp_path / "d"):
        pass
    with pytest.raises(RunError, match="no run is here"):
        read_manifest(tmp_path)


def test_the_heartbeat_is_a_json_file_with_the_pid(tmp_path):
    assert read_status(tmp_path) is None
    with start(tmp_path / "r") as run:
        run.heartbeat(stage="generate", done=3)
    status = json.loads((tmp_path / "r" / "status.json").read_text())
    assert (status["stage"], status["done"]) == ("generate", 3)
    assert status == read_status(tmp_path / "r")


def test_a_stage_made_alone_rests_on_the_remembered_ones_before_it(tmp_path):
    def train_alone():
        run.identify("prompts", {"n": 1})
        run.recall("slices")
        run.identify("train", {"epochs": 1})

    with start(tmp_path / "r") as run:
        run.identify("prompts", {"n": 1})
        run.identify("slices", {"step": 50})
        run.finish("slices", {})
        run.identify("train", {"epochs": 1})
        run.finish("train", {})
    with start(tmp_path / "r") as run:
        train_alone()
        assert run.is_current("train")
    with start(tmp_path / "r") as run:
        run.identify("prompts", {"n": 1})
        run.identify("slices", {"step": 10})
        run.finish("slices", {})
    with start(tmp_path / "r") as run:
        train_alone()
        assert not run.is_current("train")


def test_what_steering_and_detaching_leave_behind_is_no_stranger(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "detached.log").touch()
    (tmp_path / "r" / "control.json").touch()
    check_folder(tmp_path / "r")
    with start(tmp_path / "r"):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "control.json").touch()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"is not empty and holds no run \('thesis.tex' ...\)"):
        check_folder(tmp_path / "mine")
