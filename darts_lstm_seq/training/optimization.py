"""Gradients of stacked networks, each clipped by its own norm, in Lightning's hook.

For every module with a stack in it: an ensemble's (`module.py`) and that of a backtest's folds
(`stack_training.py`). The arithmetic is in `stacked.py`; clipping by value needs none of it.

Source: Lightning's `LightningModule.configure_gradient_clipping`, which takes one norm for all.
"""

from collections.abc import Iterable
from typing import Any

from torch import nn

from darts_lstm_seq.nn.optim import clip_grad_norm_per_network


class PerNetworkClipping:
    """Comes before a Lightning module: its stacked networks are clipped as each would be alone."""

    def stacked_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters `(K, ...)` of the stack; none if there is no stack."""
        raise NotImplementedError

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of each network of the stack, and all others together."""
        stacked = list(self.stacked_parameters())
        if not stacked or not gradient_clip_val or gradient_clip_algorithm == "value":
            super().configure_gradient_clipping(  # type: ignore[misc]
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
            return
        clip_grad_norm_per_network(stacked, gradient_clip_val)
        own = {id(one) for one in stacked}
        others = [one for one in self.parameters() if id(one) not in own]  # type: ignore[attr-defined]
        nn.utils.clip_grad_norm_(others, gradient_clip_val)
