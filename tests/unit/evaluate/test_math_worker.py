"""What runs in a worker of the metric `math`: questions in, findings out, as bytes; hostile text is never run."""

import subprocess
import sys

import msgspec
import pytest

from promptmill.evaluate import math_worker
from promptmill.evaluate.math_worker import Finding, Question

pytest.importorskip("math_verify", reason="needs the extra 'math'")


@pytest.fixture(scope="module")
def check():
    """The check of a loaded worker, in a process of its own: loading replaces functions of libraries for good."""
    script = (
        "import sys\nfrom promptmill.evaluate.math_worker import load\ncheck = load()\n"
        "while True:\n    head = sys.stdin.buffer.read(4)\n    if not head: break\n"
        "    said = check(sys.stdin.buffer.read(int.from_bytes(head, 'big')))\n"
        "    sys.stdout.buffer.write(len(said).to_bytes(4, 'big') + said)\n    sys.stdout.buffer.flush()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(answer, *golds):
        request = msgspec.msgpack.encode(Question(list(golds), answer))
        process.stdin.write(len(request).to_bytes(4, "big") + request)
        process.stdin.flush()
        size = int.from_bytes(process.stdout.read(4), "big")
        return msgspec.msgpack.decode(process.stdout.read(size), type=Finding)

    yield ask
    process.stdin.close()
    process.wait(120)
    process.stdout.close()


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"\frac{2}{4}", r"\frac{1}{2}"), ("0.5", r"\frac12"), (r"3\sqrt{13}", r"\sqrt{117}"), ("2+x", "x+2"),
        (r"(x+1)^2", r"x^2+2x+1"), (r"\sin^2 x+\cos^2 x", "1"), (r"\frac{\pi}{2}", r"90^\circ"), (r"\log_2 8", "3"),
        (r"2\sqrt{2}", "2.82842712"), ("4=2x", "x-2=0"), ("2x>4", "x>2"), ("2<x", "x>2"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&\frac{8}{2}\end{pmatrix}"),
        (r"i^2", "-1"), ("X+1", "x+1"), (r"e^{\ln 5}", "5"), (r"\sqrt{2}^2", "2"), (r"5!", "120"),
    ],
)  # fmt: skip
def test_equal_expressions_are_found_equal(check, answer, gold):
    assert check(answer, gold) == Finding(equal=True)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"\frac{2}{3}", r"\frac{1}{2}"), ("x+3", "x+2"), (r"(x+1)^3", r"x^2+2x+1"), ("2.8", r"2\sqrt{2}"),
        ("2x<4", "x>2"), ("x-3=0", "x-2=0"), ("y=2x", "y=3x"), (r"3\sqrt{13}", r"3\sqrt{12}"), ("R+r", "2r"),
        (r"\infty", r"-\infty"), ("2", "2i"), ("x=2x", "x"), ("x", "y"), (r"x^{10}", "x^{11}"),
    ],
)  # fmt: skip
def test_different_expressions_are_found_different(check, answer, gold):
    assert not check(answer, gold).equal


def test_one_of_several_golds_is_enough(check):
    assert check("x+1", "x+2", "1+x").equal
    assert not check("x+1", "x+2", "x+3").equal
    assert check("x+1") == Finding(equal=False)


def test_what_cannot_be_read_is_named(check):
    found = check(r"\frac{", r"\sqrt{2}")
    assert not found.equal
    assert r"\frac{" in found.unread
    assert len(check("\\frac{" * 200, r"\sqrt{2}").unread) <= 200


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {canary}')", "open('{canary}','w')",
        r"\text{{__import__('os').mkdir('{canary}')}}",
        "eval(\"open('{canary}','w')\")", r"\frac{{open('{canary}','w')}}{{1}}", "lambda: open('{canary}', 'w')",
        r"\mathrm{{exec}}(\"open('{canary}','w')\")", "(open)('{canary}','w')", "1if open('{canary}','w') else 1",
    ],
)  # fmt: skip
def test_text_is_never_run(check, text, tmp_path):
    canary = tmp_path / "canary"
    for answer, gold in ((text.format(canary=canary), "1"), ("1", text.format(canary=canary))):
        assert not check(answer, gold).equal
    assert not canary.exists()


@pytest.mark.parametrize("text", ["1", "007", "3.25", ".5", "12345678901234567890.5"])
def test_digits_are_taken_for_what_they_are(text):
    from fractions import Fraction

    found = math_worker._only_decimals(text)
    assert Fraction(int(found.p), int(found.q)) == Fraction(text)


@pytest.mark.parametrize(
    "text", ["", "1+1", "x", "1e5", "-1", "1_000", "0x10", "\uff11", "1.2.3", "9" * 5000, b"1", 1, None]
)
def test_anything_but_digits_is_refused_in_the_place_of_python_text(text):
    with pytest.raises(ValueError, match="no text is evaluated here"):
        math_worker._only_decimals(text)


def test_a_worker_goes_on_after_text_that_the_library_chokes_on(check):
    for text in ("{" * 50, "\\" * 20, "\0", "x" * 40, r"\begin{pmatrix}" * 3, "?", " ", "\u202e1"):
        assert not check(text, r"\sqrt{2}").equal
    assert check("x+1", "1+x").equal
