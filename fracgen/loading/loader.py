"""`FractalLoader`: newly rendered batches of (images, labels) on the device, the same for any number of ranks.

    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for images, labels in loader: ...

Global batch b of epoch e holds the samples at positions [b B, (b + 1) B) of the epoch's keyed
permutation; rank r of W takes every W-th of them from r on. A position is therefore two numbers,
epoch and batch, that do not depend on the rank, and any position is as near as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from fracgen.draws import Stream
from fracgen.loading.augment import Augmentation, Partners, augmentation
from fracgen.loading.augment_pictures import Augmenter
from fracgen.loading.dataset import FractalDataset, classes_present
from fracgen.loading.prefetch import Meter, in_thread, on_side_stream
from fracgen.loading.share import IMAGES_PER_CODE, Share
from fracgen.loading.twin_pictures import TwinMaker
from fracgen.loading.twins import MOST_SHOTS
from fracgen.order import MAX_INDEX, labels_of, order_keys, permute
from fracgen.recipes.presets import preset
from fracgen.rendering import make_renderer
from fracgen.rendering.base import Rendered
from fracgen.rendering.normalize import convert, dtype_name, table
from fracgen.support.decode import JsonValue
from fracgen.support.errors import once_positional, renamed

if TYPE_CHECKING:
    from fracgen.formulas.files import Bank
    from fracgen.recipes.recipe import Recipe

STATE_VERSION = 1
IMAGES_TOGETHER = 512
"""Small batches are rendered together on a GPU until they hold so many images: 64 fill half of a large card, and what
a batch costs the host is then paid once for several."""
MOST_TOGETHER = 16
"""Batches rendered together at most."""
MAX_KEPT_BYTES = 1 << 30
"""Pictures of more bytes are not kept: they are rendered anew whenever they are shown."""


class _Form(TypedDict):
    """How images are handed over; see `Renderer.render`."""

    dtype: torch.dtype | str
    normalize: bool
    channels_last: bool


class FractalLoader:
    """An epoch of freshly rendered batches.

    Args:
        bank: the codes.
        recipe: a `Recipe`, or the name of a preset, whose recipe is taken.
        batch_size: images in a global batch: all ranks' together.
        device: "cpu", "cuda", "cuda:1", a `torch.device`, or "auto".
        seed: integer in [0, 2^64); decides every image and their order.
        epoch_size: images in an epoch; default: ten a code, as in the paper. The last batch is
            smaller where the batch does not divide it, and is kept.
        rank, world_size: this process among those that share every batch.
        dtype: uint8 for bytes, else float32, float16 or bfloat16: a torch.dtype, or its name.
        normalize: float types only: (x / 255 - mean) / std with the recipe's mean and std; False
            gives x / 255.
        channels_last: lay images out with the channel fastest (their shape stays [B, 3, H, W]).
        prefetch: batches made ahead while the caller works; 0 makes each when it is asked for.
        masks: yield (images, labels, masks).
        augment: an `Augmentation`, or the name of one; images are then altered and mixed on the device, by
            random numbers of their own for every position of every epoch.
        twins: show every picture in several shots, as cameras see it, each damaged elsewhere
            (`fracgen.loading.twins`); yield (images, labels, damage).
        shots: how many of them, 2 to 64.
        grains: share of the twins whose ground is grains, as of crystals, others in every shot; 0 to 1.
        class_maps: yield (images, labels, maps).
        pictures: show only so many different pictures, those of epoch 0; default: every one is new.
        stream: `Stream.VALIDATION` has the same classes and codes in pictures that training never
            shows; it shows the same ones every epoch unless `set_epoch` is called.
        threads: CPU only; default: one for every CPU this process may use.

    Yields:
        images: [B, 3, size, size], or [B, 2, 3, size, size] for a recipe of pairs. A tensor is the
            caller's own: nothing overwrites it.
        labels: int64 [B] classes; for a recipe with codes of several classes in a picture
            (`multi-instance`) float32 [B, classes], 1 where a class is present. Where pictures are mixed:
            float32 [B, classes], each class by its weight.
        masks: uint8 [B, size, size] (or [B, 2, size, size]), 1 where an attractor shows.
        maps: int64 [B, size, size]: 0 where no attractor shows, else 1 + the class of the one that does.
        damage: float32 [B, shots, size, size]: how visible it is, 0 to 1. Images are then
            [B, shots, 3, size, size].

    Raises:
        ValueError: an argument is out of range, `world_size` does not divide every batch, augmentation, twins
            or maps do not fit the recipe, or twins are asked for together with one of the others.
        DeviceError: a GPU was asked for and is not usable.

    >>> from fracgen import CodeBank, preset
    >>> recipe = preset("paper").recipe.at_size(32)
    >>> loader = FractalLoader(CodeBank.sample(10, classes=5), recipe, 8, device="cpu", epoch_size=20)
    >>> [(tuple(images.shape), labels.dtype) for images, labels in loader][-1]
    ((4, 3, 32, 32), torch.int64)
    >>> len(loader), loader.batch_size, len(loader.dataset)
    (3, 8, 20)
    """

    _kept: Rendered | None = None
    """The pictures that are shown again and again, as bytes, once they are rendered."""
    _values: torch.Tensor | None = None
    """What their bytes become; see `fracgen.rendering.normalize`."""

    @once_positional("device", "seed")
    @renamed(normalise="normalize")
    def __init__(
        self,
        bank: Bank,
        recipe: Recipe | str = "paper",
        batch_size: int = 512,
        *,
        device: torch.device | str = "auto",
        seed: int = 0,
        epoch_size: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        dtype: torch.dtype | str = "float32",
        normalize: bool = True,
        channels_last: bool = False,
        prefetch: int = 1,
        masks: bool = False,
        augment: Augmentation | str | None = None,
        twins: bool = False,
        shots: int = 2,
        grains: float = 0.0,
        class_maps: bool = False,
        pictures: int | None = None,
        stream: Stream = Stream.TRAIN,
        threads: int | None = None,
    ) -> None:
        if prefetch < 0:
            raise ValueError(f"prefetch {prefetch} is out of range: use 0 or more batches")
        self.bank, self.recipe = bank, preset(recipe).recipe if isinstance(recipe, str) else recipe
        epoch_size = IMAGES_PER_CODE * len(bank) if epoch_size is None else epoch_size
        self.share = Share(epoch_size, batch_size, rank, world_size)
        self.seed, self.prefetch, self.masks, self.stream = seed, prefetch, masks, Stream(stream)
        self.meter = Meter()
        order_keys(seed, 0)  # refuses a bad seed now rather than at the first batch
        self._form: _Form = {"dtype": dtype_name(dtype), "normalize": normalize, "channels_last": channels_last}
        self.augmentation = augmentation(augment) if isinstance(augment, str) else augment
        self.twins, self.shots, self.grains = twins, shots, grains
        self.class_maps, self.pictures = class_maps, pictures
        self._augmenter = self._make_augmenter()
        self._masked = masks or class_maps or (self._augmenter is not None and self._augmenter.blends)
        self._renderer = make_renderer(bank, self.recipe, device, threads=threads)
        self.device: torch.device = self._renderer.device
        self._bank_sha256 = bank.sha256
        self._epoch, self._first, self._next = 0, 0, (0, 0)

    @property
    def batch_size(self) -> int:
        """Number of images in a global batch, of all ranks together."""
        return self.share.batch_size

    @property
    def dataset(self) -> FractalDataset:
        """The samples of the present epoch by number, as they are rendered: neither permuted nor augmented."""
        form = self._form
        made = FractalDataset(
            self.bank, self.recipe, seed=self.seed, epoch_size=self.share.epoch_size, dtype=form["dtype"],
            normalize=form["normalize"], stream=self.stream,
        )  # fmt: skip
        made.set_epoch(self._epoch)
        return made

    def __len__(self) -> int:
        """Batches in an epoch: the same on every rank."""
        return len(self.share)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration shows."""
        return self._epoch

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, batch) that comes after the last batch handed out."""
        return self._next

    def set_epoch(self, epoch: int) -> None:
        """Show this epoch next, from its start, or from where `load_state_dict` left it.

        Raises:
            ValueError: the epoch is outside [0, 2^32).
        """
        if not 0 <= epoch <= MAX_INDEX:
            raise ValueError(f"epoch {epoch} is out of range: use 0 to {MAX_INDEX}")
        if epoch != self._epoch:
            self._epoch, self._first, self._next = epoch, 0, (epoch, 0)

    def indices(self, batch: int) -> NDArray[np.uint32]:
        """The samples of this rank's share of a batch of the present epoch: uint32 [B]."""
        return self._samples(self._epoch, self.share.positions(batch))

    def __getitem__(self, batch: int) -> tuple[torch.Tensor, ...]:
        """This rank's share of a batch of the present epoch, wherever iteration stands.

        Raises:
            IndexError: there is no such batch.
        """
        number = batch + len(self) if batch < 0 else batch
        if not 0 <= number < len(self):
            raise IndexError(f"batch {batch} is out of range: an epoch has batches 0 to {len(self) - 1}")
        return self._make(self._epoch, range(number, number + 1))[0]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """The epoch's batches. The first iteration after `load_state_dict` begins at the loaded batch.

        When an epoch has been iterated to its end, the next iteration shows the epoch after it.
        """
        epoch, first, self._first = self._epoch, self._first, 0
        batches = range(first, len(self))
        self._next = (epoch, first)
        if self.device.type == "cuda":
            together = min(MOST_TOGETHER, -(-IMAGES_TOGETHER // self.share.count(0))) if self.prefetch else 1
            made = on_side_stream(
                lambda part: self._make(epoch, part), batches, self.prefetch, self.meter, self.device, together
            )
        else:
            made = in_thread(lambda b: self._make(epoch, range(b, b + 1))[0], batches, self.prefetch, self.meter)
        for batch, tensors in zip(batches, made, strict=True):
            self._next = (epoch, batch + 1) if batch + 1 < len(self) else (epoch + 1, 0)
            yield tensors
        if self._epoch == epoch and self.stream == Stream.TRAIN:
            self._epoch = epoch + 1

    def state_dict(self) -> dict[str, JsonValue]:
        """The position after the last batch handed out, and what it is a position in. Rank-free."""
        epoch, batch = self._next
        return {"version": STATE_VERSION, "epoch": epoch, "batch": batch, **self._identity()}

    def load_state_dict(self, state: dict[str, JsonValue]) -> None:
        """Continue from a position, on any number of ranks.

        Raises:
            ValueError: the state is of another seed, epoch size, batch size, recipe or bank.
        """
        expected = {"version": STATE_VERSION, **self._identity()}
        for name in expected | state:
            if name not in ("epoch", "batch") and state.get(name) != expected.get(name):
                raise ValueError(
                    f"the loader's state has {name} {state.get(name)!r}, this loader has {expected.get(name)!r}: "
                    "a position continues only the data it was saved in"
                )
        epoch, batch = state["epoch"], state["batch"]
        if not isinstance(epoch, int) or not isinstance(batch, int) or not (
            0 <= epoch <= MAX_INDEX and 0 <= batch < len(self)
        ):  # fmt: skip
            raise ValueError(f"the loader's state names batch {batch} of epoch {epoch}: an epoch has {len(self)}")
        self._epoch, self._first, self._next = epoch, batch, (epoch, batch)

    def _identity(self) -> dict[str, JsonValue]:
        return {
            "seed": self.seed, "epoch_size": self.share.epoch_size, "batch_size": self.share.batch_size,
            "stream": int(self.stream), "recipe": self.recipe.digest, "bank": self._bank_sha256,
            **({} if self.pictures is None else {"pictures": self.pictures}),
            **({} if self.augmentation is None else {"augmentation": self.augmentation.digest}),
            **({"twins": self.shots} if self.twins else {}), **({"grains": self.grains} if self.grains else {}),
        }  # fmt: skip

    def _make(self, epoch: int, batches: range) -> list[tuple[torch.Tensor, ...]]:
        """Consecutive batches of an epoch, rendered together: no launch, transfer or wait is one batch's own."""
        if self._augmenter is not None or self.pictures is not None:
            return [self._make_one(epoch, batch) for batch in batches]
        share = self.share
        counts = [share.count(batch) for batch in batches]
        index, labels = self._renderer.order(
            share.first(batches[0]), sum(counts), share.epoch_size, stride=share.world_size, seed=self.seed,
            epoch=epoch, stream=self.stream,
        )  # fmt: skip
        made = self._renderer.render(
            index, masks=self._masked, seed=self.seed, epoch=epoch, stream=self.stream, **self._form
        )
        whole = self._with_labels(made.images, made, labels)
        if len(counts) == 1:
            return [whole]
        return list(zip(*(torch.split(tensor, counts) for tensor in whole), strict=True))

    def _make_one(self, epoch: int, batch: int) -> tuple[torch.Tensor, ...]:
        """A batch of which more than this share may have to be rendered, or of pictures that are kept."""
        positions, bounds, augmenter = self.share.positions(batch), self.share.bounds(batch), self._augmenter
        who = augmenter.partners(positions, *bounds) if augmenter else Partners.of(positions, *bounds, mixes=False)
        index = self._samples(epoch, who.needed)
        made = self._bytes(index, epoch)
        labels = torch.from_numpy(labels_of(index, self.bank.classes)).to(self.device, non_blocking=True)
        if augmenter is None:
            return self._with_labels(self._converted(made.images), made, labels)
        if self.recipe.source == "bank":
            labels = classes_present(made, self.bank)
        masks = made.masks if self._masked else None
        return augmenter(made.images, masks, labels, who, epoch, maps=self.class_maps)

    def _bytes(self, index: NDArray[np.uint32], epoch: int) -> Rendered:
        """Samples of an epoch as bytes. Pictures that are shown again are rendered once, if they can be kept."""
        if self.pictures is None:
            return self._renderer.render(
                index, seed=self.seed, epoch=epoch, stream=self.stream, masks=self._masked
            )
        if self.pictures * self.recipe.views * self.recipe.size**2 * (3 + self._masked) > MAX_KEPT_BYTES:
            return self._renderer.render(index, seed=self.seed, masks=self._masked)
        if self._kept is None:
            self._kept = self._renderer.render(np.arange(self.pictures), seed=self.seed, masks=self._masked)
        return self._kept[torch.from_numpy(index.astype(np.int64)).to(self.device)]

    def _converted(self, images: torch.Tensor) -> torch.Tensor:
        """Bytes in the form that was asked for."""
        form = self._form
        if form["dtype"] != "uint8" and self._values is None:
            self._values = table(self.recipe, form["dtype"], normalize=form["normalize"]).to(self.device)
        return convert(images, self._values, channels_last=form["channels_last"])

    def _with_labels(self, images: torch.Tensor, made: Rendered, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images with their labels, and masks or maps where these were asked for."""
        labels = classes_present(made, self.bank) if self.recipe.source == "bank" else labels
        if not (self.masks or self.class_maps):
            return images, labels
        maps = torch.where(made.masks > 0, labels[:, None, None] + 1, 0) if self.class_maps else made.masks
        return images, labels, maps

    def _samples(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.uint32]:
        samples = permute(positions, self.share.epoch_size, order_keys(self.seed, epoch, self.stream))
        return samples if self.pictures is None else samples % np.uint32(self.pictures)

    def _make_augmenter(self) -> Augmenter | TwinMaker | None:
        if self.pictures is not None and not 1 <= self.pictures <= self.share.epoch_size:
            raise ValueError(f"pictures {self.pictures} is out of range: use 1 to the epoch's {self.share.epoch_size}")
        if self.class_maps and (self.recipe.source == "bank" or self.recipe.views == 2):
            what = "pairs" if self.recipe.views == 2 else "several classes in a picture"
            raise ValueError(f"recipe {self.recipe.name!r} has {what}: maps of classes need one picture of one class")
        form = self._form | {"dtype": getattr(torch, str(self._form["dtype"]))}
        if not 0 <= self.grains <= (1 if self.twins else 0):
            raise ValueError(f"grains {self.grains:g} is out of range: use 0 to 1 with twins, else 0")
        if not 2 <= self.shots <= MOST_SHOTS:
            raise ValueError(f"shots {self.shots} is out of range: use 2 to {MOST_SHOTS}")
        if self.twins:
            if self.masks or self.class_maps or self.augmentation is not None:
                raise ValueError(
                    "twins have a damage of their own in place of masks, maps and augmentation: drop those"
                )
            return TwinMaker(self.recipe, self.seed, self.stream, shots=self.shots, grains=self.grains, **form)
        if self.augmentation is None:
            return None
        if self.masks:
            raise ValueError("masks are of pictures as they were rendered: ask for class_maps, or do not augment")
        return Augmenter(self.augmentation, self.recipe, self.bank.classes, self.seed, self.stream, **form)
