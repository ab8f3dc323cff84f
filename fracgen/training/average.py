"""A moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch


class MovingAverage:
    """Weights averaged over steps with exponentially falling weight; batch statistics too.

    It is not a module, so that it is neither trained nor synchronised: every process computes the same.

    Args:
        model: the network, with its first weights.
        decay: of the average, a step; less in the first steps, so that they are soon forgotten.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        """Update with the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own, new = self._values(self.model), self._values(model)
        if own[0].device != new[0].device:
            self.model.to(new[0].device)
            own = self._values(self.model)
        torch._foreach_lerp_(own, new, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """The averaged network's."""
        return self.model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved average."""
        self.model.load_state_dict(state)

    @staticmethod
    def _values(model: torch.nn.Module) -> list[torch.Tensor]:
        return [value for value in model.state_dict().values() if value.is_floating_point()]
