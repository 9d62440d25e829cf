import os
from pathlib import Path

import pytest

from promptmill.derive.blocks import BlockFile
from promptmill.io.jsonl import atomic

PIECES = [b"x" * 700_000, b"", b"y" * 400_000, b"z" * 3_000_000, b"tail\n"]


def folders():
    """A disk and, where there is one, a file system in memory: one may know direct writes and the other not."""
    return ["disk", *(["memory"] if os.access("/dev/shm", os.W_OK) else [])]


@pytest.mark.parametrize("where", folders())
def test_pieces_of_any_size_come_out_joined(tmp_path, where):
    path = tmp_path / "a" if where == "disk" else Path("/dev/shm") / f"promptmill-{os.getpid()}"
    try:
        with atomic(path) as file:
            block = BlockFile(file)
            block.add(PIECES)
            block.add([memoryview(b"abc")[1:]])
            block.close()
        assert path.read_bytes() == b"".join(PIECES) + b"bc"
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 20])
def test_sizes_around_a_block_are_exact(tmp_path, size):
    with atomic(tmp_path / "a") as file:
        block = BlockFile(file)
        block.add([b"q" * size])
        block.close()
    assert (tmp_path / "a").read_bytes() == b"q" * size


def test_a_pipe_is_written_too():
    # No seek, no direct writes, and short writes: the same bytes come through.
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        block = BlockFile(sink)
        block.add([b"through"])
        block.close()
        assert source.read(7) == b"through"
