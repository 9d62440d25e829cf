"""Messages between processes that do not trust each other."""

import contextlib
import os
import threading

import pytest

from promptmill.evaluate.sandbox.frames import Broken, Channel


@pytest.fixture
def pipe():
    reads, writes = os.pipe()
    yield reads, writes
    for number in (reads, writes):
        with contextlib.suppress(OSError):  # closed by the test
            os.close(number)


def test_a_message_larger_than_the_pipe_arrives_whole(pipe):
    channel = Channel(*pipe)
    message = {"text": "x" * 1_000_000, "list": [1, None, True, "\ud800"]}
    writer = threading.Thread(target=channel.send, args=(message,))
    writer.start()
    assert channel.receive() == message
    writer.join(10)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"", "it is gone"),
        (b"\0\0", "it is gone"),
        (b"\0\0\0\x05{}", "it is gone"),
        (b"\0\0\0\x02{]", "a message is no JSON"),
        (b"\0\0\0\x02\xff\xfe", "a message is no JSON"),
        (b"\0\0\x17\x71" + b"9" * 6001, "a message is no JSON"),
        (b"\0\0\xc3\x50" + b"[" * 50_000, "a message is no JSON"),
        (b"\xff\xff\xff\xff", "a message of 4,294,967,295 bytes is too long"),
    ],
)
def test_what_is_no_message_is_told_apart(pipe, written, said):
    os.write(pipe[1], written)
    os.close(pipe[1])
    with pytest.raises(Broken, match=said):
        Channel(pipe[0], -1).receive()


def test_a_message_over_the_limit_is_not_sent(pipe):
    with pytest.raises(Broken, match="a message of 102 bytes is too long"):
        Channel(*pipe, limit=100).send("x" * 100)


def test_nobody_listening_is_told(pipe):
    os.close(pipe[0])
    with pytest.raises(Broken, match="it does not listen any more"):
        Channel(-1, pipe[1]).send(1)
