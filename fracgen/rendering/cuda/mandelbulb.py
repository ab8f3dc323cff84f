"""The kernels of Mandelbulb variations in order; see `pipeline`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen.rendering.cuda.layout import REGION_WIDTH, VIEW_THREADS
from fracgen.rendering.cuda.pipeline import KernelPipeline, OutputFormat
from fracgen.rendering.parameters import header
from fracgen.rendering.records import OBJECT_FIELDS, PALETTE, SCENE_FIELDS
from fracgen.rendering.variations import VIEW_FIELDS


class MandelbulbPipeline(KernelPipeline):
    """View and surface draw the objects, noise and backdrop the background, blend lays one over the other."""

    kernels = ("view", "surface", "noise", "backdrop", "blend")

    def upload(self, bank: Any) -> tuple[Any, ...]:
        upload = self.backend.upload
        return (
            upload(bank.powers.astype(np.int32)), upload(bank.rules.astype(np.int32)), upload(bank.radii),
            np.uint32(bank.classes), np.uint32(bank.per_class),
        )  # fmt: skip

    def scratch_sizes(self) -> dict[str, int]:
        parameters, layout = self.parameters, self.layout
        objects = parameters.views * parameters.max_objects
        sizes = {
            "scenes": parameters.views * SCENE_FIELDS * 4,
            "backdrop scenes": parameters.views * SCENE_FIELDS * 4,
            "objects": objects * OBJECT_FIELDS * 4,
            "views": objects * VIEW_FIELDS * 4,
            "textures": objects * parameters.canvas**2 * 4,
        }
        if parameters.noise:
            sizes |= {
                "nothing": parameters.views * OBJECT_FIELDS * 4,
                "noise": parameters.views * layout.noise_cells * 2,
                "backgrounds": parameters.views * PALETTE * 4,
                "backdrops": parameters.views * 3 * parameters.size**2,
            }
        return sizes

    def prepare(self, form: OutputFormat) -> None:
        for kernel in self.kernels:
            if self.parameters.noise or kernel not in ("noise", "backdrop"):
                self.function(kernel, form)

    def function(self, kernel: str, form: OutputFormat) -> Any:
        key = (kernel, OutputFormat())
        if kernel == "backdrop" and key not in self.functions:
            # A backdrop is a composed picture of placed objects of which there are none.
            bare = self.parameters._replace(placed=1, max_objects=1)
            text = header(bare, **self.layout.definitions(), out_bytes=1, out_channels_last=0)
            self.functions[key] = self.backend.load("compose", text)
        return super().function(kernel, form)

    def threads(self, kernel: str) -> int:
        return self.layout.threads("compose" if kernel == "backdrop" else kernel)

    def render_part(
        self, samples: tuple[Any, ...], n: int, space: dict[str, Any], values: Any, outputs: tuple[Any, ...],
        form: OutputFormat,
    ) -> None:  # fmt: skip
        parameters, layout = self.parameters, self.layout
        powers, rules, radii, classes, per_class = self.codes
        images, objects = n * parameters.views, n * parameters.views * parameters.max_objects
        self._launch(
            "view", form, (-(-objects // VIEW_THREADS), 1), classes, per_class, *samples, np.uint32(objects),
            space["scenes"], space["backdrop scenes"], space["objects"], space["views"],
        )  # fmt: skip
        regions = -(-parameters.canvas // REGION_WIDTH) * -(-parameters.canvas // layout.region_height)
        self._launch(
            "surface", form, (objects, regions), powers, rules, radii, space["objects"], space["views"],
            space["textures"],
        )  # fmt: skip
        if parameters.noise:
            noise = (space["noise"], space["backgrounds"])
            self._launch("noise", form, (images, 1), *samples, space["backdrop scenes"], *noise)
            self._launch(
                "backdrop", form, (-(-parameters.size // layout.compose_rows), images), *samples,
                space["backdrop scenes"], space["nothing"], None, *noise, None, None, space["backdrops"], None, None,
            )  # fmt: skip
        self._launch(
            "blend", form, (-(-parameters.size // layout.blend_rows), images), space["scenes"], space["objects"],
            space["textures"], space["backdrops"] if parameters.noise else None, values, *outputs,
        )  # fmt: skip
