"""A ResNet-18 learns 20 classes of fractals in a plain PyTorch loop: python examples/plain_loop.py"""

import dataclasses
import sys

import torch
import torchvision

import fracgen

device = "cuda" if torch.cuda.is_available() else "cpu"
epochs, images_an_epoch = (int(number) for number in (*sys.argv[1:], "4", "2000")[:2])

recipe = dataclasses.replace(fracgen.preset("paper").recipe.at_size(64), background="black", points=20_000)
bank = fracgen.CodeBank.sample(40, seed=0, classes=20)
common = {"recipe": recipe, "batch_size": 32, "device": device, "seed": 0}
loader = fracgen.FractalLoader(bank, epoch_size=images_an_epoch, **common)
validation = fracgen.FractalLoader(bank, epoch_size=320, stream=fracgen.Stream.VALIDATION, **common)

model = torchvision.models.resnet18(num_classes=20).to(device)
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
for epoch in range(epochs):
    loader.set_epoch(epoch)
    for images, labels in loader:
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in validation)
    model.train()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, validation accuracy {right / 320:.1%}")
