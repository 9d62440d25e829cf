"""Batch files: a run's open requests -> request files -> batches of a server -> outcomes, the same as live ones.

`write`, `submit`, `collect`, `cancel` and `status` are steps of one way; each can be stopped at any instant and called
again. The bodies of the lines are made, and their answers read, by the code that asks live. What comes back is merged
by `custom_id`, in any order: answers and refusals settle their requests; what was too much for the server, expired or
is not there stays open, and the next `write` asks it again.

Not covered: prices; servers without `/v1/batches` (their result files go through `collect_file`); several servers for
one file.
"""

from promptmill.workflows.batching.collecting import cancel, collect, collect_file, counts_text, status
from promptmill.workflows.batching.desk import Wire, check_options
from promptmill.workflows.batching.ledger import load_ledger
from promptmill.workflows.batching.sending import submit, write

__all__ = [
    "Wire", "cancel", "check_options", "collect", "collect_file", "counts_text", "load_ledger", "status", "submit",
    "write",
]  # fmt: skip
