#!/usr/bin/env bash
# Anomalib 2.7.0 with timm 1.0.31: TimmFeatureExtractor(..., output_fmt="NLC", return_class_token=True) mixes up pictures
# when the transformer has no class token. timm then returns one tensor a block, not (patches, prefix); Anomalib unpacks
# it all the same, along the batch. With exactly two pictures nothing fails: their tokens are joined along the channels.
# Seen, for a SigLIP transformer of 196 tokens and 768 channels: (2, 196, 768) without the option, (196, 1536) with it;
# its first 768 channels are the second picture's. A batch of three raises ValueError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q anomalib==2.7.0 timm==1.0.31 torch==2.11.0 torchvision==0.26.0
venv/bin/python -W ignore - <<'P' 2>/dev/null
import importlib.metadata

import torch
from anomalib.models.components.feature_extractors import TimmFeatureExtractor


def features(pictures, **options):
    torch.manual_seed(0)
    network = TimmFeatureExtractor("vit_base_patch16_siglip_224", ["blocks.2"], pre_trained=False, output_fmt="NLC",
                                   **options)
    return network(pictures)["blocks.2"]


pictures = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
plain, joined = features(pictures), features(pictures, return_class_token=True)
print("anomalib", importlib.metadata.version("anomalib"), "timm", importlib.metadata.version("timm"),
      "without and with the class token:", tuple(plain.shape), tuple(joined.shape))
assert plain.shape == (2, 196, 768)
assert joined.shape == (196, 1536), "pictures are not joined any more"
assert torch.equal(joined[:, :768], plain[1]) and torch.equal(joined[:, 768:], plain[0])
try:
    features(torch.rand(3, 3, 224, 224), return_class_token=True)
except ValueError as error:
    print("three pictures:", error)
else:
    raise AssertionError("three pictures are unpacked now")
P
