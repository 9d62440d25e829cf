"""`processed_dataset.json`, the form in which other tools of this field take prompts: `{"prompts": [...], "count": n}`.

Written as a stream, one prompt a line; read back by `sources.files.prompts`. Ids and origins do not fit in that form:
keep the rows beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from promptmill.io.jsonl import atomic
from promptmill.records import Prompt


def write_processed(path: Path, prompts: Iterable[Prompt]) -> int:
    """Write the prompts' texts, atomically; return how many.

    Raises:
        DataError: the path cannot be written.
    """
    encode = msgspec.json.Encoder().encode
    count = 0
    with atomic(path) as file:
        file.write(b'{"prompts": [')
        for count, prompt in enumerate(prompts, 1):
            file.write(b"\n" if count == 1 else b",\n")
            file.write(encode(prompt.plain))
        file.write(b'\n], "count": %d}\n' % count)
    return count
