#!/usr/bin/env bash
# The built wheel in an empty environment: installs, imports, and runs a recipe against the fake server.
set -euo pipefail
wheel=$(realpath "$1")
constraints=$(realpath constraints.txt)
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" "$wheel[tokens]"
cd "$work"
"$work/venv/bin/promptmill" --version
"$work/venv/bin/promptmill" doctor
"$work/venv/bin/promptmill" lengths run --help >/dev/null
"$work/venv/bin/promptmill" fake-server --port 0 >fake.log &
server=$!
for _ in $(seq 1200); do grep -q 'http://' fake.log && break; sleep 0.1; done
url=$(grep -o 'http://[0-9.:]*' fake.log | head -n 1)
printf '{"prompts": ["one", "two"], "count": 2}' >prompts.json
"$work/venv/bin/promptmill" lengths generate --input prompts.json --output results.json --server-url "$url" --model fake \
  --max-tokens 4000 --tokenizer-path bytes
"$work/venv/bin/python" -c 'import json; r = json.load(open("results.json")); assert r["success"] == 2, r; print("wheel: ok")'
