#!/usr/bin/env bash
# Pillow 12.0.0: an uncompressed grey TIFF whose Orientation tag says that it lies on its side (5 to 8) opens by name with
# its pixels scrambled: the file is mapped into memory with the width and height of the upright picture and turned after that.
# An opened stream of the same bytes, or the same picture compressed, is right. Pillow 10.4.0 reads all of them alike.
# Seen for a ramp of 3 x 5 pixels with Orientation 6: by name [[12, 9, 6, 3, 0], ...], still 3 x 5; by stream
# [[10, 5, 0], [11, 6, 1], ...], which is the ramp turned. Only grey pictures without compression, and only by name.
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

ramp = np.arange(15, dtype=np.uint8).reshape(3, 5)
tag = Image.Exif()
tag[0x112] = 6
Image.fromarray(ramp).save("plain.tif", exif=tag)
Image.fromarray(ramp).save("packed.tif", exif=tag, compression="tiff_adobe_deflate")


def upright(source):
    with Image.open(source) as file:
        return np.asarray(file)  # TIFF is turned upright when it is loaded


want = np.rot90(ramp, -1)
named, packed = upright("plain.tif"), upright("packed.tif")
with open("plain.tif", "rb") as stream:
    streamed = upright(stream)
print("Pillow", PIL.__version__, "by name:", named.tolist(), "by stream:", streamed.tolist())
assert np.array_equal(streamed, want) and np.array_equal(packed, want), "stream or compressed file is not upright"
assert not np.array_equal(named, want), "opened by name it is right now"
P
