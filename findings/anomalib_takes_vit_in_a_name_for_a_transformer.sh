#!/usr/bin/env bash
# Anomalib 2.7.0 with timm 1.0.31: what TimmFeatureExtractor does with a network depends on the letters "vit" in its name.
# 1. Seven of timm's families that have the letters and no plain grid of tokens cannot be built: TypeError, unexpected
#    keyword argument 'dynamic_img_size'. They work under features_only, which the extractor uses for other names.
# 2. DeiT is the same class as ViT in timm and lacks the letters: with equal weights and equal layers its features differ
#    from ViT's, as the last norm is applied to blocks by the one way and not by the other.
# Seen: TypeError for all seven; "blocks.5" of vit_tiny and deit_tiny with equal tensors: not equal, equal after the norm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q anomalib==2.7.0 timm==1.0.31 torch==2.11.0 torchvision==0.26.0
venv/bin/python -W ignore - <<'P' 2>/dev/null
import importlib.metadata

import timm
import torch
from anomalib.models.components.feature_extractors import TimmFeatureExtractor

print("anomalib", importlib.metadata.version("anomalib"), "timm", importlib.metadata.version("timm"))
for name in ("fastvit_t8", "efficientvit_b0", "mobilevit_xxs", "levit_128s", "davit_tiny", "crossvit_tiny_240",
             "tiny_vit_5m_224"):
    try:
        TimmFeatureExtractor(name, ["stages.1"], pre_trained=False)
    except TypeError as error:
        print(f"{name}: {error}")
        assert "dynamic_img_size" in str(error)
    else:
        raise AssertionError(f"{name} is built now")

vit = TimmFeatureExtractor("vit_tiny_patch16_224", ["blocks.5"], pre_trained=False)
deit = TimmFeatureExtractor("deit_tiny_patch16_224", ["blocks.5"], pre_trained=False)
weights = timm.create_model("vit_tiny_patch16_224").state_dict()
known = deit.feature_extractor.state_dict()
assert vit.feature_extractor.load_state_dict(weights).missing_keys == []
inner = {name: weights[name.removeprefix("model.")] for name in known}
deit.feature_extractor.load_state_dict(inner)
picture = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
theirs, ours = vit(picture)["blocks.5"], deit(picture)["blocks.5"]
normed = vit.feature_extractor.norm(ours.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
print("equal:", torch.allclose(theirs, ours, atol=1e-4), "equal after the last norm:",
      torch.allclose(theirs, normed, atol=1e-4))
assert not torch.allclose(theirs, ours, atol=1e-4) and torch.allclose(theirs, normed, atol=1e-4)
P
