"""Networks by name: fresh weights, the last layer, stages, and their features beside the outputs."""

from __future__ import annotations

import pytest
import torch

from fracgen.networks import FeatureNetwork, create, last_layer, stages

STRIDES = (4, 8, 16, 32)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet18", "fc"), ("squeezenet1_1", "classifier.1"), ("mobilenet_v3_small", "classifier.3"),
     ("timm/resnet18", "fc"), ("timm/convnext_atto", "head.fc"), ("timm/vit_tiny_patch16_224", "head"),
     ("vit_b_32", "heads.head")],
)  # fmt: skip
def test_models_by_name(name: str, layer: str) -> None:
    model = create(name, 7, 64, 5)
    assert last_layer(model, 7) == layer
    again = create(name, 7, 64, 5).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "message"),
    [("wide_resnet52", r"no classifier of that name; did you mean wide_resnet50_2"),
     ("inception_v3", r"does not make \[2, 7\] of images \[2, 3, 32, 32\]")],
)  # fmt: skip
def test_models_that_cannot_be_trained_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(name, 7, 32, 5)


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "densenet121", "tf_efficientnet_lite0", "timm/convnext_atto"]
)
def test_features_and_outputs_of_one_pass_are_those_of_the_network(name: str) -> None:
    """As hooks hear them; with the random numbers of training, too."""
    model, size = create(name, 7, 64, 0), 64
    images, heard = torch.randn(2, 3, size, size), {}
    chosen = stages(model, size, STRIDES)
    assert [stage.stride for stage in chosen] == list(STRIDES)
    network = FeatureNetwork(model, chosen)
    for stage in chosen:
        model.get_submodule(stage.module).register_forward_hook(
            lambda _module, _inputs, output, name=stage.module: heard.update({name: output})
        )
    for training in (True, False):
        torch.manual_seed(1)
        outputs, maps = network.train(training)(images)
        torch.manual_seed(1)
        expected = model.train(training)(images)
        assert torch.equal(outputs, expected)
        for stage, features in zip(chosen, maps, strict=True):
            assert torch.equal(features, heard[stage.module])
            assert features.shape == (2, stage.channels, size // stage.stride, size // stage.stride)


def test_it_holds_the_tensors_of_the_network_and_freezes_those_behind_its_stages() -> None:
    model = create("resnet18", 7, 64, 0)
    network = FeatureNetwork(model, stages(model, 64, (4, 8)))
    assert {id(tensor) for tensor in network.parameters()} == {id(tensor) for tensor in model.parameters()}
    network.freeze_behind_stages(64)
    frozen = {name.split(".")[0] for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {"layer3", "layer4", "fc"}
    outputs, maps = FeatureNetwork(model)(torch.randn(2, 3, 64, 64))
    assert (outputs.shape, maps) == ((2, 7), [])


@pytest.mark.parametrize("name", ["vit_b_32", "squeezenet1_1", "timm/hrnet_w18_small", "timm/swinv2_tiny_window8_256"])
def test_networks_without_such_maps_are_refused(name: str) -> None:
    """Among them one whose stages are no modules, and one whose maps have their channels last."""
    model = create(name, 5, 64, 0)
    with pytest.raises(ValueError, match=r"gives no feature maps of [0-9, ]+ pixels a cell: use a convolutional"):
        stages(model, 64, STRIDES)
