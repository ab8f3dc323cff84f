"""Several processes share every batch: torchrun --standalone --nproc-per-node 2 examples/ddp.py

Each rank renders its own share on its own device; together they see the images that one process
would see. The position is saved by one rank and read by all, on however many there are next time.
"""

import dataclasses
import os
import sys

import torch
import torch.distributed as dist
import torchvision
from torch.nn.parallel import DistributedDataParallel

import fracgen

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
gpu = torch.cuda.is_available()
dist.init_process_group("nccl" if gpu else "gloo")
rank, world_size, local = dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"])
device = torch.device("cuda", local) if gpu else torch.device("cpu")
if gpu:
    torch.cuda.set_device(device)

recipe = dataclasses.replace(fracgen.preset("paper").recipe.at_size(64), background="black", points=20_000)
bank = fracgen.CodeBank.sample(40, seed=0, classes=20)
loader = fracgen.FractalLoader(
    bank, recipe, batch_size=32, device=device, seed=0, epoch_size=3200, rank=rank, world_size=world_size
)
torch.manual_seed(0)
model = DistributedDataParallel(torchvision.models.resnet18(num_classes=20).to(device))
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

for step, (images, labels) in enumerate(loader, 1):
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if rank == 0 and (step % 20 == 0 or step == steps):
        print(f"step {step}: loss {loss.item():.3f}, {len(images)} of 32 images on this rank, {loader.state_dict()}")
    if step == steps:
        break
dist.destroy_process_group()
