"""Give the tensors of a Swin of Transformers, such as Mitsua/swin-base-multi-fractal-1k, timm's names:

    python examples/swin_names.py model.safetensors swin.safetensors
    fracgen eval run ... --model swin_base_patch4_window7_224 --weights mitsua=swin.safetensors
"""

import re
import sys

import torch
from safetensors.torch import load_file, save_file

NAMES = {
    r"^swin\.encoder\.": "", r"^swin\.layernorm": "norm", r"^classifier": "head.fc",
    r"^swin\.embeddings\.patch_embeddings\.projection": "patch_embed.proj", r"^swin\.embeddings\.": "patch_embed.",
    r"layernorm_before": "norm1", r"layernorm_after": "norm2", r"intermediate\.dense": "mlp.fc1",
    r"(?<=\d\.)output\.dense": "mlp.fc2", r"attention\.output\.dense": "attn.proj",
    r"attention\.self\.query": "attn.qkv", r"attention\.self\.relative": "attn.relative",
}  # fmt: skip

theirs = load_file(sys.argv[1])
ours = {}
for name, tensor in theirs.items():
    if re.search(r"relative_position_index|\.self\.(key|value)\.", name):
        continue  # the first is no weight, the others come with the query, which are one tensor in timm
    if ".self.query." in name:
        tensor = torch.cat([theirs[name.replace("query", part)] for part in ("query", "key", "value")])
    for pattern, new in NAMES.items():
        name = re.sub(pattern, new, name)
    # Patches are merged at the end of a stage there, at the beginning of the next one here.
    name = re.sub(r"(\d)\.downsample", lambda found: f"{int(found[1]) + 1}.downsample", name)
    ours[name] = tensor
save_file(ours, sys.argv[2])
