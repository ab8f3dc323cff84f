#!/usr/bin/env bash
# Pillow 12.0.0: a 16-bit grey picture converted to RGB or L is clipped at 255, not scaled.
# A ramp from black to white in 16 bits becomes one white picture (every value from 256 on),
# and a float TIFF in [0, 1] becomes a black one. No warning is given, so a pipeline that ends in
# `Image.open(path).convert("RGB")` compares white pictures with white pictures.
# Seen: 16-bit ramp -> [0 255 255 255]; float ramp -> [0 0 0 1]. Expected by most readers: [0 85 170 255] for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q pillow==12.0.0 numpy==2.3.4
venv/bin/python - <<'P'
import numpy as np
import PIL
from PIL import Image

ramp = np.tile(np.linspace(0, 1, 4), (4, 1))
Image.fromarray((ramp * 65535).astype(np.uint16)).save("grey16.png")
Image.fromarray(ramp.astype(np.float32)).save("float.tif")
seen = {name: np.asarray(Image.open(name).convert("RGB"))[0, :, 0].tolist() for name in ("grey16.png", "float.tif")}
print("Pillow", PIL.__version__, seen)
assert seen["grey16.png"] == [0, 255, 255, 255], "16-bit grey is no longer clipped"
assert seen["float.tif"] == [0, 0, 0, 1], "float grey is no longer cut to whole numbers"
P
