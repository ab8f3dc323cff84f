"""EfficientAD (Batzner et al., WACV 2024) without photographs, and without a download.

Anomalib's model fetches two things that come from ImageNet: the weights of its teacher, a patch description network,
and pictures on which the student must give nothing. Here the teacher is the one of the given weights, and the pictures
are rendered. The quantiles by which Anomalib joins its two maps are those of normal pictures that are kept out of the
training, a tenth, as the authors do; Anomalib itself sets them in a validation loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Unpack

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import Count, Limits, Table, Watch
from fracgen_eval.methods.engine import AnomalibMethod, AnomalibSettings, Common
from fracgen_eval.methods.quiet import quiet, without_bars
from fracgen_eval.weights.backbones import Weights
from fracgen_eval.weights.network import IMAGENET, Network, Normalisation, Stage

if TYPE_CHECKING:
    from anomalib.models import EfficientAd as Theirs
    from anomalib.models.components import AnomalibModule
    from torch import Tensor, nn

USUAL_SIDE = 256
"""Of pictures, in pixels, from which on the autoencoder is Anomalib's to the last kernel."""
ENCODED = 32
"""Pixels a cell, along a side, of the map of which the autoencoder's last kernel makes one."""
GREY = 0.3
"""Share of the rendered pictures that lose their colours, as Anomalib's."""


@dataclass(frozen=True, kw_only=True)
class EfficientAdSettings(AnomalibSettings):
    """EfficientAD's."""

    batch: Annotated[int, Limits(1)] = 1
    """Anomalib's trains on one picture at a time."""
    steps: Count = 70_000
    penalty_pictures: Annotated[int, Limits(4096)] = 256
    """Number of rendered pictures on which the student must give nothing; they are shown again and again."""

    method = "efficient_ad"
    trial: ClassVar[Table] = {"steps": 20, "penalty_pictures": 4}
    least_side = 128
    """The decoder makes a map of side // 64 - 1 cells."""
    least_images = 2
    """One to train on and one for the quantiles."""

    @property
    def length(self) -> tuple[int, int]:
        """As many epochs as the steps need."""
        return -1, 0

    @property
    def most_steps(self) -> int:
        return self.steps

    def stages(self, net: Network) -> tuple[Stage, ...]:
        from fracgen.networks import TEACHER

        if net.name != TEACHER:
            raise EvaluationError(
                f"efficient_ad learns from a patch description network, and {net.name} is none: use --model {TEACHER}"
            )
        self.check_sizes()
        return ()


class EfficientAd(AnomalibMethod[EfficientAdSettings]):
    """A student and an autoencoder learn what the teacher gives for normal pictures.

    Below 256 px Anomalib's autoencoder fails, as its last kernel of 8 x 8 is larger than the map: it gets one of the
    map's size, which at 256 px is 8 x 8.
    """

    module: Theirs

    def __init__(self, settings: EfficientAdSettings, weights: Weights, seed: int, device: str) -> None:
        settings.stages(weights.network)
        if weights.normalisation != IMAGENET:
            raise EvaluationError(
                f"{weights.name}: EfficientAD normalises with ImageNet's mean and standard deviation, not "
                f"{list(weights.normalisation.mean)} and {list(weights.normalisation.std)}: use --input-norm imagenet"
            )
        whole = Normalisation((0.0,) * 3, (1.0,) * 3)  # the model itself normalises
        super().__init__(settings, dataclasses.replace(weights, normalisation=whole), seed, device)

    def _placed(self) -> tuple[AnomalibModule, nn.Module, dict[str, str]]:
        from anomalib.pre_processing import PreProcessor
        from torchvision.transforms.v2 import Identity

        ready = PreProcessor(transform=Identity())
        module = self.built(pre_processor=ready, post_processor=False, evaluator=False, visualizer=False)
        teacher = module.model.get_submodule("teacher")
        teacher.load_state_dict(self.weights.tensors, strict=True)
        return module, teacher, {f"teacher.{name}": name for name in self.weights.tensors}

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        """Anomalib's, which fetches nothing."""
        import torch
        from anomalib.models import EfficientAd as Theirs
        from torch import nn

        module, side = Theirs(**common), self.settings.image_size
        if side < USUAL_SIDE:
            module.model.ae.encoder.enconv6 = nn.Conv2d(64, 64, side // ENCODED)

        def penalty(image_size: torch.Size) -> None:
            vars(module)["imagenet_iterator"] = self._penalty()

        vars(module).update(prepare_pretrained_model=lambda: None, prepare_imagenette_data=penalty)
        return module

    def fit(self, images: Tensor, watch: Watch | None = None) -> Table:
        """Train on nine tenths, then set the quantiles by the others."""
        import torch

        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed))
        held = max(1, len(images) // 10)
        self.module.model.mean_std.update({name: torch.zeros_like(t) for name, t in self.module.model.mean_std.items()})
        facts = super().fit(images[order[held:]])
        self.module.to(self.device)
        with quiet(), without_bars(), torch.no_grad():
            loader = self._data(images[order[:held]]).train_dataloader()
            self.module.model.quantiles.update(self.module.map_norm_quantiles(loader))
        return facts | {"steps": self.settings.steps, "held_for_quantiles": held}

    def _penalty(self) -> Iterator[tuple[Tensor]]:
        """Pictures of the recipe `scenes`, [1, 3, side, side] in 0 to 1, in an order that the seed decides."""
        import torch

        import fracgen
        from fracgen.formulas.formula import make_bank
        from fracgen.training.config import named_config

        number, side = self.settings.penalty_pictures, self.settings.image_size
        twins = named_config("twins")  # whose recipe `scenes` is
        bank = make_bank(twins.bank, twins.bank_seed)
        made = fracgen.FractalDataset(bank, twins.recipe.at_size(side), dtype="uint8")
        pictures = torch.stack([made[n][0] for n in range(number)])
        draws = torch.Generator().manual_seed(self.seed)
        while True:
            for n in torch.randperm(number, generator=draws).tolist():
                picture = pictures[n : n + 1].float() / 255
                if torch.rand((), generator=draws) < GREY:
                    picture = picture.mean(1, keepdim=True).expand_as(picture)
                yield (picture,)
