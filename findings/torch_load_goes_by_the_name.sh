#!/usr/bin/env bash
# torch 2.15.0: torch.load reads a file by its name's ending, not by its content. A checkpoint that torch.save wrote
# as x.safetensors (it does so without a word) cannot be read again by torch.load: a parser of safetensors takes it, and
# says "header too large". The same bytes as x.pt load.
# Seen: x.pt -> tensor([0, 1, 2]); x.safetensors -> SafetensorError. Expected: both alike, as before this ending was known.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
if command -v uv > /dev/null; then uv pip install -q -p venv torch==2.15.0 safetensors==0.8.0 numpy==2.3.4; else venv/bin/pip install -q torch==2.15.0 safetensors==0.8.0 numpy==2.3.4; fi
venv/bin/python - <<'P'
from pathlib import Path

import torch

seen = []
for name in ("x.pt", "x.safetensors"):
    torch.save({"a": torch.arange(3)}, name)
    try:
        seen.append(str(torch.load(name, weights_only=True)["a"]))
    except Exception as error:
        seen.append(f"{type(error).__name__}: {error}")
same = Path("x.pt").read_bytes()[:2] == Path("x.safetensors").read_bytes()[:2] == b"PK"
print("torch", torch.__version__, "both are zip files:", same, seen)
assert same and seen[0] == "tensor([0, 1, 2])" and "header too large" in seen[1]
P
