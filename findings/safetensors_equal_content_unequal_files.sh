#!/usr/bin/env bash
# safetensors 0.8.0: equal tensors and equal metadata make files of different bytes from one process to the next.
# `save` keeps tensors in order, but writes the entries of `metadata` in the order of a hash map that is seeded anew in
# each process. So the SHA-256 of a model file is no fingerprint of its content, a content-addressed store keeps the same
# weights many times, and a build that is otherwise reproducible is not. With one entry of metadata files are equal.
# Seen: 10 processes, 8 entries -> several digests (10 here); 10 processes, 1 entry -> 1 digest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q safetensors==0.8.0 numpy==2.3.4
cat > save.py <<'P'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

metadata = {f"entry{n}": str(n) for n in range(int(sys.argv[1]))}
print(hashlib.sha256(save({"weight": np.zeros(4, np.float32)}, metadata)).hexdigest())
P
for entries in 8 1; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do venv/bin/python save.py $entries; done | sort -u | wc -l > digests$entries
    echo "safetensors 0.8.0, $entries entries of metadata, 10 processes: $(cat digests$entries) digests"
done
[ "$(cat digests8)" -gt 1 ] || { echo "equal content now makes equal files"; exit 1; }
[ "$(cat digests1)" -eq 1 ]
