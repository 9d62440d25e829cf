"""Signs of Unicode and the LaTeX that means the same. Compatibility forms (full-width digits) are not listed."""

# ruff: noqa: RUF001 - signs that look like others are what this table is about

SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "―": "-", "﹣": "-", "×": r"\cdot ", "·": r"\cdot ",
    "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∞": r"\infty ",
    "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "μ": r"\mu ",
    "µ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ", "σ": r"\sigma ", "Δ": r"\Delta ", "\u03a9": r"\Omega ",
    "\u2126": r"\Omega ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}",
    "°": r"^\circ ", "º": r"^\circ ", "′": "'", "″": '"', "’": "'", "“": '"', "”": '"', "⟨": r"\langle ",
    "⟩": r"\rangle ", "…": r"\ldots ", "∛": r"\sqrt[3]", "∖": r"\setminus ", "√": r"\sqrt ", "½": r" \frac{1}{2}",
    "⅓": r" \frac{1}{3}", "⅔": r" \frac{2}{3}", "¼": r" \frac{1}{4}", "¾": r" \frac{3}{4}", "⅕": r" \frac{1}{5}",
    "⅖": r" \frac{2}{5}", "⅗": r" \frac{3}{5}", "⅘": r" \frac{4}{5}", "⅙": r" \frac{1}{6}", "⅛": r" \frac{1}{8}",
    "⅜": r" \frac{3}{8}", "⅝": r" \frac{5}{8}", "⅞": r" \frac{7}{8}",
}  # fmt: skip
