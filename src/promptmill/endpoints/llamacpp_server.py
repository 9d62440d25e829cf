"""A llama.cpp server in a process of its own, with the prebuilt package `xllamacpp`.

`serve` runs it as `python -m promptmill.endpoints.llamacpp_server MODEL HOST PORT THREADS SLOTS CONTEXT ALIAS`.
llama.cpp writes its log to stderr. With PROMPTMILL_FOLLOW=PID it ends when its parent, that process, has ended.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def main() -> None:
    """Serve until a signal ends the process."""
    import xllamacpp

    model, host, port, threads, slots, context, prompt_cache_mib, alias = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = [alias]
    params.hostnames = [host]
    params.port = int(port)
    params.n_parallel = int(slots)
    params.n_ctx = int(context) * int(slots)  # llama.cpp shares it out among the slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.cache_ram_mib = int(prompt_cache_mib)
    params.cont_batching = True
    params.use_jinja = True
    params.endpoint_metrics = True
    try:
        _server = xllamacpp.Server(params)  # serves as long as the object lives
    except RuntimeError as error:
        sys.exit(f"llama.cpp cannot serve {model}: {error}")
    parent = int(os.environ.get("PROMPTMILL_FOLLOW", "0"))
    if not parent:
        signal.pause()
    while os.getppid() == parent:
        time.sleep(0.5)


if __name__ == "__main__":
    main()
