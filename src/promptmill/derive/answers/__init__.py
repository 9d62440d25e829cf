r"""Answers taken out of responses: `answer`, a ladder of rules that ends in "no answer".

A response is read once (`page`: thoughts blanked), cut before a question it runs on into (`runons`), and handed from
rule to rule until one of them finds an answer:

| rule | finds | module |
|---|---|---|
| `answer_tag` | `<answer>...</answer>`, the last that says something | `tags` |
| `boxed` | `\boxed{...}`, `\fbox{...}`, the last | `boxed` |
| `json` | `{"answer": ...}` | `objects` |
| `hashes` | `#### 4` on a line of its own | `endings` |
| `phrase` | "The answer is ...", "Answer: ...", "C is correct", in some thirty languages | `phrases`, `languages` |
| `table` | the cell under "Answer" | `objects` |
| `letter` | "C) 5, because ...", a last line "**C**" | `letters` |
| `bold`, `conclusion` | the last line in bold; what the last sentence comes to | `endings`, `closing` |
| `whole` | a response that is nothing but the answer | `endings` |
| `weighed` | the option that is left when all is said for and against | `weighing`, `verdicts`, `mentions` |

A rule that finds a statement which is no answer ("A or B", a letter that no option has) ends the ladder: what was
said before is not taken instead. The rule is `Answer.method`; `:option_text` is added where an option was named by
its text.

Not covered: judging answers, numbers written in words, and answers given in the middle of a sentence.
"""

from __future__ import annotations

from promptmill.derive.answers.ladder import answer

__all__ = ["answer"]
