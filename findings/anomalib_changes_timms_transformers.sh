#!/usr/bin/env bash
# Anomalib 2.7.0 with timm 1.0.31: building a feature extractor of any plain vision transformer changes the features of all
# of timm's vision transformers in the process, those that exist and those built later.
# At a side other than the one that a network was made for, timm resamples its position embedding with antialiasing.
# `TimmFeatureExtractor` replaces timm's function by one without, for good. So features of the same network and picture
# depend on what ran before in the same process: two evaluations, or a test suite in another order, do not agree.
# Seen: ViT-Tiny at 128 px, before and after the extractor of another ViT-Tiny is built: features differ by up to 0.15
# (their standard deviation is 1); at 224 px, where nothing is resampled, by 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q anomalib==2.7.0 timm==1.0.31 torch==2.11.0 torchvision==0.26.0
venv/bin/python -W ignore - <<'P'
import timm
import torch

torch.manual_seed(0)
network = timm.create_model("vit_tiny_patch16_224", pretrained=False, dynamic_img_size=True).eval()


@torch.no_grad()
def features(side):
    picture = torch.linspace(-1, 1, 3 * side * side).reshape(1, 3, side, side)
    return network.forward_features(picture)


before = {side: features(side) for side in (128, 224)}
from anomalib.models.components import TimmFeatureExtractor  # noqa: E402

imported = float((features(128) - before[128]).abs().max())
TimmFeatureExtractor("vit_tiny_patch16_224", ["blocks.3"], pre_trained=False)
apart = {side: float((features(side) - before[side]).abs().max()) for side in before}
print("timm", timm.__version__, "torch", torch.__version__, "after the import:", imported, "after an extractor was built:", apart)
assert imported == 0, "the import alone changes features"
assert apart[128] > 0.01, "features no longer change"
assert apart[224] == 0
P
