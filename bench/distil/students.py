"""Students of the package's ResNet-18: what each learns of its feature maps, and where in the student it is read.

Lite0 and ViT-Tiny are narrower than what they learn, so they learn the teacher's principal components: those keep
distances between patches, which is what memories of patches compare.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import timm
import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.efficientnet import EfficientNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

import fracgen
from bench.distil.pictures import BATCH, SIDE, Pictures
from fracgen.networks import TEACHER, create, patch_description


class Teacher:
    """The package's ResNet-18, and what its stages make of pictures [B, 3, H, W] in -1 to 1."""

    def __init__(self, stages: Sequence[str]) -> None:
        network = fracgen.pretrained("resnet18").to(memory_format=torch.channels_last)
        self._stages, self._names = create_feature_extractor(network, list(stages)), stages

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> list[Tensor]:
        maps = self._stages(pictures.contiguous(memory_format=torch.channels_last))
        return [maps[name] for name in self._names]


class Student(ABC):
    """A network that learns."""

    reuse: ClassVar[int]
    """How often a picture is shown, in the mean."""
    parts: ClassVar[dict[str, float]]
    """Names of what `errors` has, with their weights in the loss."""
    network: nn.Module
    heads: nn.Module = nn.Identity()
    """What is trained with it and not kept."""

    @abstractmethod
    def __init__(self, pool: Pictures, seed: int) -> None:
        """Start from random weights; of the pool come means and axes of the targets."""

    def pictures(self, pool: Pictures, number: int) -> Tensor:
        """A batch: float32 [B, 3, H, W] in -1 to 1. Numbers that are both even or both odd have equal shapes."""
        return pool[number]

    @abstractmethod
    def targets(self, pictures: Tensor) -> list[Tensor]:
        """What is to be learnt of them."""

    @abstractmethod
    def errors(self, pictures: Tensor, targets: list[Tensor]) -> Tensor:
        """Shares of the targets' variance that the student does not give, differentiable: float32 [K]."""


def basis(maps: Sequence[Tensor], width: int, *, seed: int | None = None) -> tuple[Tensor, Tensor]:
    """Mean [C] of maps [B, C, H, W] and the axes [C, width] of their strongest principal components, scaled so that a
    component's variance is 1 in the mean over components. With a seed they are turned at random, so that all
    components have about that variance; distances stay.
    """
    x = torch.cat([found.permute(0, 2, 3, 1).flatten(0, 2) for found in maps])
    mean = x.mean(0)
    variances, axes = torch.linalg.eigh(((x - mean).T @ (x - mean) / len(x)).double())
    kept = variances[-width:].sum()
    print(f"{width} of {x.shape[1]} components hold {float(kept / variances.sum()):.1%} of the variance", flush=True)
    axes = axes[:, -width:].flip(1) * (width / kept) ** 0.5
    if seed is not None:
        draws = torch.randn(width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        axes = axes @ torch.linalg.qr(draws)[0]
    return mean, axes.float().contiguous()


def first(pool: Pictures, count: int = 12) -> list[Tensor]:
    """Batches that means and axes are made of; training does not show them."""
    return [pool[number] for number in range(1_000_000 // BATCH, 1_000_000 // BATCH + count)]


def normalised(found: Tensor, mean: Tensor, axes: Tensor) -> Tensor:
    """Components of maps [B, C, H, W]: [B, width, H, W]."""
    return torch.einsum("bchw,ck->bkhw", found - mean[:, None, None], axes)


class VitTiny(Student):
    """Tokens of 16 px learn layer2, averaged over a token, and layer3, both of equal weight.

    Block 5 learns them through a linear head that is thrown away, the outputs of blocks 8 and 11 are the components
    themselves, and the last norm's output is their direction, for the class token that of their mean over places.
    Position embeddings begin with zeros and are resampled to 6 x 6 and 12 x 12, so they are smooth.
    """

    network: VisionTransformer
    reuse = 3
    parts: ClassVar = {"block 5": 0.5, "block 8": 1.0, "block 11": 1.0, "norm": 0.5, "class": 0.1}

    def __init__(self, pool: Pictures, seed: int) -> None:
        torch.manual_seed(seed)
        network = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True, num_classes=0)
        assert isinstance(network, VisionTransformer)
        assert isinstance(network.pos_embed, nn.Parameter)
        self.network = network
        nn.init.zeros_(network.pos_embed)
        width = network.embed_dim
        self.heads = nn.Linear(width, width)
        self._teacher = Teacher(("layer2", "layer3"))
        made = [self._teacher(batch) for batch in first(pool)]
        self._scale = torch.stack([torch.cat([maps[k] for maps in made]).var((0, 2, 3)).sum().rsqrt() for k in (0, 1)])
        self._mean, self._axes = basis([self._joined(maps) for maps in made], width, seed=seed)

    def _joined(self, maps: list[Tensor]) -> Tensor:
        return torch.cat((F.avg_pool2d(maps[0], 2) * self._scale[0], maps[1] * self._scale[1]), 1)

    def pictures(self, pool: Pictures, number: int) -> Tensor:
        """Batches of 96 px and mosaics of 192 px take turns."""
        return pool.mosaics(number) if number % 2 else pool[number]

    def targets(self, pictures: Tensor) -> list[Tensor]:
        """[B, 192, H / 16, W / 16]."""
        return [normalised(self._joined(self._teacher(pictures)), self._mean, self._axes)]

    def errors(self, pictures: Tensor, targets: list[Tensor]) -> Tensor:
        """Of the three blocks, and of the norm's output for places and class."""
        wanted = targets[0].flatten(2).transpose(1, 2)
        net = self.network
        x = net._pos_embed(net.patch_embed(pictures))
        taken = []
        for number, block in enumerate(net.blocks):
            x = block(x)
            if number in (5, 8, 11):
                taken.append(x[:, 1:])
        outputs = [self.heads(taken[0]), taken[1], taken[2]]
        parts = [(output - wanted).square().mean() for output in outputs]
        both = torch.cat((wanted.mean(1, keepdim=True), wanted), 1)
        off = (net.norm(x) - F.normalize(both, dim=-1) * both.shape[-1] ** 0.5).square()
        return torch.stack([*parts, off[:, 1:].mean(), off[:, 0].mean()])


class Lite0(Student):
    """Each stage learns the teacher's components at its stride, as many as it has channels. The head, which widens
    320 channels to 1,280, keeps its random weights: only its batch normalisation learns its statistics.
    """

    network: EfficientNet
    reuse = 4
    parts: ClassVar = {"layer1": 0.3, "layer2": 1.0, "layer3": 1.0, "layer4": 1.0}

    def __init__(self, pool: Pictures, seed: int) -> None:
        torch.manual_seed(seed)
        network = create("tf_efficientnet_lite0", 128, SIDE, seed).to(memory_format=torch.channels_last)
        assert isinstance(network, EfficientNet)
        self.network = network
        self._teacher = Teacher(tuple(self.parts))
        made = [self._teacher(batch) for batch in first(pool)]
        stages = zip(zip(*made, strict=True), (24, 40, 112, 320), strict=True)
        self._bases = [basis(maps, width) for maps, width in stages]

    def targets(self, pictures: Tensor) -> list[Tensor]:
        """[B, width, H / stride, W / stride] of four stages."""
        return [normalised(found, *its) for found, its in zip(self._teacher(pictures), self._bases, strict=True)]

    def errors(self, pictures: Tensor, targets: list[Tensor]) -> Tensor:
        """Of the four stages."""
        net, taken = self.network, []
        x = net.bn1(net.conv_stem(pictures.contiguous(memory_format=torch.channels_last)))
        for number, block in enumerate(net.blocks):
            x = block(x)
            if number in (1, 2, 4, 6):
                taken.append(x)
        with torch.no_grad():
            net.bn2(net.conv_head(x))
        return torch.stack([(found - wanted).square().mean() for found, wanted in zip(taken, targets, strict=True)])


class Pdn(Student):
    """EfficientAD's small patch description network learns layer2 and layer3 of pictures that the teacher sees twice
    as large, each channel normalised, as EfficientAD's own teacher learns those of a WideResNet (Batzner et al., 2024).
    Pictures are mosaics, as a network without padding loses their edges.
    """

    reuse = 1
    parts: ClassVar = {"features": 1.0}

    def __init__(self, pool: Pictures, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = patch_description().to(memory_format=torch.channels_last)
        self._teacher = Teacher(("layer2", "layer3"))
        made = torch.cat([self._maps(batch[:16]) for batch in first(pool)])
        self._mean, self._std = made.mean((0, 2, 3))[:, None, None], made.std((0, 2, 3))[:, None, None]

    def _maps(self, pictures: Tensor) -> Tensor:
        large = F.interpolate(pictures, scale_factor=2.0, mode="bilinear", antialias=True)
        fine, coarse = self._teacher(large)
        return torch.cat((fine, F.interpolate(coarse, fine.shape[2:], mode="bilinear")), 1)

    def pictures(self, pool: Pictures, number: int) -> Tensor:
        """Two mosaics of a batch's sixteen."""
        return pool.mosaics(number // 8)[number % 8 :: 8]

    def targets(self, pictures: Tensor) -> list[Tensor]:
        """[B, 384, 40, 40]: cell i of the student is centred on the teacher's cell i + 4."""
        return [((self._maps(pictures) - self._mean) / self._std)[:, :, 4:-4, 4:-4]]

    def errors(self, pictures: Tensor, targets: list[Tensor]) -> Tensor:
        """Of all channels."""
        mean, std = torch.tensor(IMAGENET_DEFAULT_MEAN), torch.tensor(IMAGENET_DEFAULT_STD)
        shown = (pictures / 2 + 0.5 - mean[:, None, None]) / std[:, None, None]
        found = self.network(shown.contiguous(memory_format=torch.channels_last))
        return torch.stack([(found - targets[0]).square().mean()])


STUDENTS: dict[str, type[Student]] = {
    "vit_tiny_patch16_224": VitTiny, "tf_efficientnet_lite0": Lite0, TEACHER: Pdn,
}  # fmt: skip
