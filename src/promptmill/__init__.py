"""promptmill turns prompts into training data with LLMs.

prompts -> requests -> outcomes -> derived rows -> files.

The public names below load on first use (PEP 562), so `import promptmill` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Completion": "records",
    "ConfigError": "errors",
    "DataError": "errors",
    "EndpointError": "errors",
    "Failure": "records",
    "Message": "records",
    "MissingExtra": "errors",
    "Outcome": "records",
    "Prompt": "records",
    "PromptmillError": "errors",
    "Reference": "records",
    "Request": "records",
    "Sampling": "records",
    "Usage": "records",
    "serve": "endpoints.serve",
    "servers": "endpoints.serve",
}
__all__ = [
    "Completion",
    "ConfigError",
    "DataError",
    "EndpointError",
    "Failure",
    "Message",
    "MissingExtra",
    "Outcome",
    "Prompt",
    "PromptmillError",
    "Reference",
    "Request",
    "Sampling",
    "Usage",
    "__version__",
    "serve",
    "servers",
]

if TYPE_CHECKING:
    from promptmill.endpoints.serve import serve, servers
    from promptmill.errors import ConfigError, DataError, EndpointError, MissingExtra, PromptmillError
    from promptmill.records import Completion, Failure, Message, Outcome, Prompt, Reference, Request, Sampling, Usage


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'promptmill' has no attribute {name!r}")
    return getattr(importlib.import_module(f"promptmill.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
