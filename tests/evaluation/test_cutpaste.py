"""CutPaste: where views are cut and pasted, what they look like, and the whole method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fracgen_eval.methods import cutpaste_views as views
from fracgen_eval.methods.cutpaste import CutPaste, CutPasteSettings

from tests.evaluation.methods import made, random_weights

SIDE, MANY = 256, 20_000


@pytest.fixture(scope="module")
def patches() -> views.Patches:
    return views.draw_patches(np.random.default_rng(0), MANY, SIDE)


@pytest.fixture(scope="module")
def scars() -> views.Scars:
    return views.draw_scars(np.random.default_rng(0), MANY, SIDE)


def pictures(number: int, side: int = SIDE, seed: int = 0) -> torch.Tensor:
    return torch.rand(number, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_patch_areas_are_uniform_on_their_range(patches: views.Patches) -> None:
    area = patches.height * patches.width / SIDE**2
    assert area.min() > 0.02 - 0.002
    assert area.max() < 0.15 + 0.004
    quartiles = np.quantile((area - 0.02) / 0.13, [0.25, 0.5, 0.75])
    assert quartiles == pytest.approx([0.25, 0.5, 0.75], abs=0.02)


def test_patch_aspects_are_uniform_on_either_interval(patches: views.Patches) -> None:
    aspect = patches.width / patches.height
    assert aspect.min() > 0.3 * 0.95
    assert aspect.max() < 3.3 * 1.05
    wide = aspect > 1.02
    assert wide.mean() == pytest.approx(0.5, abs=0.03)
    # Uniform, not log-uniform: the mean of U(1, 3.3) is 2.15, that of a log-uniform 1.93.
    assert aspect[wide].mean() == pytest.approx(2.15, abs=0.03)
    assert aspect[aspect < 0.98].mean() == pytest.approx(0.65, abs=0.02)


def test_patch_positions_are_uniform_over_all_that_fit(patches: views.Patches) -> None:
    for start, extent in [
        (patches.top, patches.height), (patches.cut_top, patches.height),
        (patches.left, patches.width), (patches.cut_left, patches.width),
    ]:  # fmt: skip
        assert start.min() == 0
        assert (start + extent).max() == SIDE
        assert np.quantile(start / (SIDE - extent), [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.02)


def test_scars_keep_their_ranges_and_stay_inside(scars: views.Scars) -> None:
    assert (scars.width.min(), scars.width.max()) == (2, 16)
    assert (scars.length.min(), scars.length.max()) == (10, 25)
    assert np.abs(scars.angle).max() <= 45
    assert np.quantile(scars.angle, [0.25, 0.5, 0.75]) == pytest.approx([-22.5, 0, 22.5], abs=1)
    turn = np.radians(scars.angle)
    for sign_u, sign_v in [(1, 1), (1, -1), (-1, 1), (-1, -1)]:
        u, v = sign_u * scars.length / 2, sign_v * scars.width / 2
        for corner in (scars.y + u * np.cos(turn) - v * np.sin(turn), scars.x + u * np.sin(turn) + v * np.cos(turn)):
            assert corner.min() >= -1e-9
            assert corner.max() <= SIDE + 1e-9


def test_a_pasted_patch_is_the_cut_one_and_nothing_else_changes() -> None:
    images = pictures(16)
    where = views.draw_patches(np.random.default_rng(1), 16, SIDE)
    pasted, mask = views.paste_patches(images, where)
    for n in range(16):
        h, w = where.height[n], where.width[n]
        assert mask[n].sum() == h * w
        cut = images[n, :, where.cut_top[n] : where.cut_top[n] + h, where.cut_left[n] : where.cut_left[n] + w]
        paste = pasted[n, :, where.top[n] : where.top[n] + h, where.left[n] : where.left[n] + w]
        assert torch.equal(cut, paste)
        assert torch.equal(pasted[n][:, ~mask[n]], images[n][:, ~mask[n]])


def test_a_pasted_scar_comes_from_its_rectangle_and_nothing_else_changes() -> None:
    images = pictures(32)
    where = views.draw_scars(np.random.default_rng(2), 32, SIDE)
    pasted, mask = views.paste_scars(images, where)
    for n in range(32):
        length, width = where.length[n], where.width[n]
        assert mask[n].sum().item() == pytest.approx(length * width, rel=0.15, abs=4)
        rows, columns = torch.nonzero(mask[n], as_tuple=True)
        assert abs(rows.float().mean() + 0.5 - where.y[n]) < 1
        assert abs(columns.float().mean() + 0.5 - where.x[n]) < 1
        top, left = where.cut_top[n], where.cut_left[n]
        cut = {tuple(p.tolist()) for p in images[n, :, top : top + length, left : left + width].flatten(1).T}
        assert all(tuple(p.tolist()) in cut for p in pasted[n][:, mask[n]].T)
        assert torch.equal(pasted[n][:, ~mask[n]], images[n][:, ~mask[n]])


def test_an_unturned_scar_is_a_plain_rectangle() -> None:
    images = pictures(1)
    places = {"cut_top": 30, "cut_left": 40, "y": 100.0, "x": 60.5}
    where = views.Scars(*map(np.atleast_1d, (12, 5, 0.0)), **{n: np.array([v]) for n, v in places.items()})
    pasted, mask = views.paste_scars(images, where)
    assert mask[0, 94:106, 58:63].all()
    assert mask.sum() == 60
    assert torch.equal(pasted[0, :, 94:106, 58:63], images[0, :, 30:42, 40:45])


def test_jitter_touches_the_patch_alone_and_agrees_with_torchvision() -> None:
    from torchvision.transforms.v2 import functional as F

    images = pictures(6, 64)
    factors = views.draw_jitter(np.random.default_rng(3), 6, 0.1)
    assert np.abs(factors - [1, 1, 1, 0]).max() <= 0.1
    ours = views.colour_jitter(images, factors)
    for n, (brightness, contrast, saturation, hue) in enumerate(factors):
        theirs = F.adjust_contrast(F.adjust_brightness(images[n], brightness), contrast)
        theirs = F.adjust_hue(F.adjust_saturation(theirs, saturation), hue)
        assert torch.allclose(ours[n], theirs, atol=2e-4)
    pasted, mask = views.paste_patches(images, views.draw_patches(np.random.default_rng(1), 6, 64), factors)
    inverse = ~mask[:, None].expand_as(images)
    assert torch.equal(pasted[inverse], images[inverse])


def cutpaste(kind: str = "3way", **changes: object) -> CutPaste:
    small = {"steps": 4, "frozen_steps": 2, "batch": 4, "image_size": 64, "views": kind}
    return made(CutPaste, "cutpaste", random_weights(), small | changes)


def bytes_of(number: int, seed: int = 0) -> torch.Tensor:
    return (pictures(number, 64, seed) * 255).to(torch.uint8)


@pytest.mark.parametrize(("kind", "classes"), [("3way", 3), ("normal", 2), ("scar", 2), ("union", 2)])
def test_views_are_balanced_and_normal_first(kind: str, classes: int) -> None:
    method = cutpaste(kind)
    assert isinstance(method.settings, CutPasteSettings)
    batch, labels = method._views(bytes_of(9), np.random.default_rng(0), method.settings)
    assert batch.shape == (4 * classes, 3, 64, 64)
    assert labels.tolist() == [k for k in range(classes) for _ in range(4)]
    normal, damaged = batch[:4], batch[4:8]
    changed = (normal != damaged).any(1).float().mean((1, 2))
    assert (changed > 0.001).all()
    assert (changed < 0.4).all()


def test_untouched_scores_are_those_of_a_run_without_steps() -> None:
    images, test = bytes_of(9), bytes_of(5, seed=9)
    plain, trained, again = cutpaste(steps=0), cutpaste(), cutpaste()
    facts = [method.fit(images) for method in (plain, trained, again)]
    assert np.array_equal(trained.predict(test).beside["steps=0"], plain.predict(test).scores)
    assert not np.array_equal(trained.predict(test).scores, plain.predict(test).scores)
    assert facts[1]["steps"] == 4
    assert np.array_equal(trained.predict(test).scores, again.predict(test).scores)


def test_the_density_is_ledoit_wolf_on_unit_features() -> None:
    from sklearn.covariance import LedoitWolf

    images, test, method = bytes_of(9), bytes_of(5, seed=9), cutpaste(steps=0)
    method.fit(images)
    normal, judged = (method._features(method.network, x, 16).numpy() for x in (images, test))
    assert np.linalg.norm(normal, axis=1) == pytest.approx(np.ones(9))
    expected = np.sqrt(LedoitWolf().fit(normal).mahalanobis(judged))
    assert method.predict(test).scores == pytest.approx(expected, rel=1e-5)


def test_the_backbone_rests_during_the_frozen_steps() -> None:
    method = cutpaste(steps=2)
    method.fit(bytes_of(9))
    for key, tensor in method.network.state_dict().items():
        assert torch.equal(tensor, method.weights.tensors[key]), key
