"""Any timm model on pictures with several labels each: python examples/timm_model.py [STEPS]"""

import dataclasses
import sys

import timm
import torch

import fracgen

device = "cuda" if torch.cuda.is_available() else "cpu"
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50

recipe = dataclasses.replace(fracgen.preset("multi-instance").recipe.at_size(64), points=20_000)
bank = fracgen.CodeBank.sample(40, seed=0, classes=20, maps=(2, 4))
loader = fracgen.FractalLoader(bank, recipe, batch_size=32, device=device, epoch_size=32 * steps, masks=True)

model = timm.create_model("convnext_atto", num_classes=bank.classes).to(device)
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
for images, present, masks in loader:  # present: [B, classes], 1 where a class is in the picture
    loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), present)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    shown = masks.float().mean().item()
print(f"loss {loss.item():.3f}; {present.sum(1).mean().item():.1f} classes a picture, covering {shown:.0%} of it")
