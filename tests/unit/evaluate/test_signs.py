"""Signs of Unicode: what is typed, pasted and printed means the same."""

# ruff: noqa: RUF001 - signs that look like others are what this is about

import pytest

from promptmill.evaluate.signs import SIGNS
from promptmill.evaluate.spelling import spell


@pytest.mark.parametrize("minus", "−–—‐‑‒―﹣－")
def test_every_minus_is_a_minus(minus):
    assert spell(f"{minus}5") == "-5"
    assert spell(f"x{minus}1") == "x-1"


@pytest.mark.parametrize(
    ("typed", "latex"),
    [
        ("2×3", r"2\times 3"), ("2·3", r"2\cdot 3"), ("6÷2", r"6\div 2"), ("6∕2", "6/2"), ("x≤3", r"x\leq 3"),
        ("x≥3", r"x \ge 3"), ("x≠3", r"x\neq 3"), ("±3", r"\pm 3"), ("A∪B", r"A\cup B"), ("∞", r"\infty"),
        ("2π", r"2\pi"), ("30°", r"30^{\circ}"), ("½", r"\frac12"), ("2½", r"2 \dfrac{1}{2}"), ("√5", r"\sqrt{5}"),
        ("√(x+1)", r"\sqrt{x+1}"), ("∛8", r"\sqrt[3]{8}"), ("x²", "x^{2}"), ("x⁻¹", "x^{-1}"), ("x₁", "x_{1}"),
        ("∅", r"\varnothing"), ("５", "5"), ("5 µm", r"5 \mu m"), ("5 μm", r"5 \mu m"), ("5 \u2126", "5 \u03a9"),
        ("“yes”", "yes"), ("5′", "5'"), ("ℝ", r"\mathbb{R}"), ("≈3", "3"),
    ],
)  # fmt: skip
def test_a_sign_and_its_latex_have_one_spelling(typed, latex):
    assert spell(typed).replace(" ", "") == spell(latex).replace(" ", "")


def test_every_sign_of_the_table_is_written_in_ascii():
    assert [sign for sign, meaning in SIGNS.items() if not meaning.isascii()] == []
    assert [sign for sign in SIGNS if sign.isascii()] == []
