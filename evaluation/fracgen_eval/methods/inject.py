"""Pre-trained weights for whatever network one of Anomalib's models builds, and proof that they are in it.

Anomalib's constructors name a backbone and fetch somebody's weights for it, each in its own way. Here they run with
timm's and torchvision's builders replaced: a network that is asked for with pre-trained weights is made with the
given ones, to the last tensor, before the constructor sees it. So whatever a model derives from it, it derives from
them. The tensors that the model keeps are remembered by name, to be compared again after fitting.

Constructors that know networks by their names, and treat some otherwise, are given another name: `FEATURES`, which
stands for the features of any network as maps, or one of a plain transformer, which stands for any (`tokens.py`).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.backbones import Weights, load_backbone
from fracgen_eval.weights.network import TORCHVISION, Stage, contiguous, create, turned

if TYPE_CHECKING:
    from torch import nn

FEATURES = "features"


class Injection:
    """The networks that a constructor asks for, each filled with the same weights.

    Args:
        weights: of the backbone.
        side: of the pictures, in pixels.
        stages: those whose features are taken, whatever the constructor says under the alias.
        alias: the name that stands for the backbone.
        in_order: whether features are needed in their usual order in memory.
    """

    def __init__(
        self, weights: Weights, side: int, stages: Sequence[Stage] = (), alias: str = "", *, in_order: bool = False
    ) -> None:
        self.weights, self.side, self.stages, self.alias, self.in_order = weights, side, stages, alias, in_order
        self.networks: list[nn.Module] = []

    @contextlib.contextmanager
    def builders(self) -> Iterator[None]:
        """While it lasts, timm and torchvision make the backbone with these weights, and nothing is downloaded."""
        from unittest import mock

        import timm
        import timm.models.vision_transformer as vit
        import torchvision

        net, indices = self.weights.network, [self.weights.network.index(stage) for stage in self.stages]

        def timms(model_name: str, pretrained: bool = False, **options: object) -> nn.Module:
            name = net.name if model_name == self.alias else model_name.partition(".")[0]
            made: nn.Module
            if name == net.name and options.get("features_only"):
                chosen = {"out_indices": indices} if indices and "out_indices" in options else {}
                made = create(name, **(options | chosen | net.sized(self.side)))
                made = turned(made, net.maps(self.side), self.side)
            elif model_name == self.alias:
                # Positions are resampled as pictures come, so that the file's own tensors are those in the network.
                tokens = {"num_classes": 0, "dynamic_img_size": True}
                made = create(name, **({k: v for k, v in options.items() if k != "img_size"} | tokens))
            else:
                made = create(name, **options)
            return self._filled(made, name) if pretrained else made

        with contextlib.ExitStack() as stack:
            stack.enter_context(offline())
            stack.enter_context(mock.patch.object(timm, "create_model", timms))
            # Anomalib takes the low-pass away from all transformers of the process: put it back at the end.
            stack.enter_context(mock.patch.object(vit, "resample_abs_pos_embed", vars(vit)["resample_abs_pos_embed"]))
            if (name := self.weights.model) in TORCHVISION:
                build = getattr(torchvision.models, name)

                def torchvisions(*, weights: object = None, **options: object) -> nn.Module:
                    made: nn.Module = build(weights=None, **options)
                    return made if weights is None else self._filled(made, name)

                stack.enter_context(mock.patch.object(torchvision.models, name, torchvisions))
            yield

    def places(self, model: nn.Module) -> dict[str, str]:
        """The file's name of every tensor of a model that comes from the weights, by its name in the model.

        Raises:
            EvaluationError: the model holds none, several networks of them, or the classifier, which they lack.
        """
        if len(self.networks) != 1:
            raise EvaluationError(
                f"it starts {len(self.networks)} networks from pre-trained weights, and what can be proven is that "
                "one of them stays as it is"
            )
        (network,) = self.networks
        known = {id(tensor): key for key, tensor in network.state_dict(keep_vars=True).items()}
        held = {
            key: known[id(tensor)] for key, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in known
        }
        if not held:
            raise EvaluationError("it keeps no tensor of the network that it asked for")
        if heads := [key for key in held.values() if key in self.weights.network.head]:
            raise EvaluationError(f"it uses the classifier ({heads[0]}), which is not part of a backbone")
        names = self.weights.network.names(held.values())
        return {key: names[inner] for key, inner in held.items()}

    def _filled(self, made: nn.Module, name: str) -> nn.Module:
        if name != self.weights.model:
            raise EvaluationError(f"it also starts from pre-trained weights of {name}")
        load_backbone(made, self.weights)
        if self.in_order:
            contiguous(made)
        self.networks.append(made.requires_grad_(False).eval())
        return made


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """No other machine is found while it lasts: a constructor or a hook that wants a download fails instead."""
    from unittest import mock

    def refuse(host: object, *rest: object, **more: object) -> NoReturn:
        raise OSError(f"it wants to download from {host}, and nothing is downloaded here")

    with mock.patch.object(socket, "getaddrinfo", refuse):
        yield
