"""Claim: a fit is several times faster than Darts' `BlockRNNModel`, and faster than plain PyTorch.

The same LSTM (H 32, L 24, T 12), the same windows and Adam on all sides: ours as it comes (patches,
normalisation, a decaying rate) and as the tutorial's network, which is Darts' too. The plain loop
is the tutorial as a PyTorch user would write it by hand over ready tensors. The small fit is that
of 144 months with default parameters (H 64, 200 steps), against the plain loop with the tutorial's
network and with our own, both of as many units, steps and batches.

Usage: `python benchmarks/bench_fit.py [--threads 1] [--device cuda]`
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel
from harness import QUIET_TRAINER, Case, main
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.nn.long_skip import make_skip
from darts_lstm_seq.nn.network import LSTMSeqNetwork

L, T, H = 24, 12, 32
TUTORIAL = {"use_reversible_instance_norm": False}


def wave(length: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(length)
    return np.sin(np.arange(length) / 5) + 0.1 * noise


def fit(cls: type, series: Any, epochs: int, batch_size: int, device: str, **kwargs: Any) -> Any:
    accelerator = "gpu" if device == "cuda" else "cpu"
    model = cls(
        L,
        T,
        hidden_dim=H,
        n_epochs=epochs,
        batch_size=batch_size,
        random_state=0,
        pl_trainer_kwargs={**QUIET_TRAINER, "accelerator": accelerator},
        **kwargs,
    )
    return model.fit(series)


class Tutorial(nn.Module):
    """The tutorial's network."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_dim, batch_first=True)
        self.linear = nn.Linear(hidden_dim, T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the forecasts `(B, T, 1)` of windows `(B, L, 1)`."""
        out, _ = self.lstm(x)
        return self.linear(out[:, -1, :])[..., None]


def plain_loop(
    values: np.ndarray,
    epochs: int,
    batch_size: int,
    device: str,
    make: Callable[[], nn.Module],
) -> None:
    windows = torch.tensor(values, dtype=torch.float32).unfold(0, L + T, 1)
    x, y = windows[:, :L, None].contiguous(), windows[:, L:, None].contiguous()
    loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
    network = make().to(device)
    optimizer = torch.optim.Adam(network.parameters())
    criterion = nn.MSELoss()
    for _ in range(epochs):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(network(inputs.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()


def small_fit(series: TimeSeries, device: str) -> None:
    accelerator = "gpu" if device == "cuda" else "cpu"
    trainer = {**QUIET_TRAINER, "accelerator": accelerator}
    LSTMSeqModel(L, T, random_state=0, pl_trainer_kwargs=trainer).fit(series)


def own_network() -> nn.Module:
    """Return the network of the small fit."""
    network = LSTMSeqNetwork(
        1, T, 1, hidden_dim=64, patch_length=6, dropout=0.9, skip=make_skip(L, T)
    )
    network.initialize_skip(12, 109)
    return network


def cases(device: str) -> Iterator[Case]:
    values = wave(3000)
    darts_targets = {("float64", 32): 3.0, ("float64", 256): 3.0}
    darts_targets |= {("float32", 32): 1.5, ("float32", 256): 1.35}
    tutorial = partial(Tutorial, H)
    plain_targets = {("defaults", 32): 1.3, ("defaults", 256): 2.5}
    for (batch_size, epochs), (name, options) in product(
        ((32, 4), (256, 16)), (("defaults", {}), ("the tutorial's network", TUTORIAL))
    ):
        for dtype in ("float64", "float32"):
            series = TimeSeries.from_values(values.astype(dtype))
            ours = partial(fit, LSTMSeqModel, series, epochs, batch_size, device, **options)
            darts = partial(fit, BlockRNNModel, series, epochs, batch_size, device, model="LSTM")
            work = f"fit, {dtype}, batch {batch_size}, {epochs} epochs of 2965 windows, {name}"
            yield Case(work, ours, darts, "Darts BlockRNN LSTM", darts_targets[dtype, batch_size])
            if dtype == "float64":
                plain = partial(plain_loop, values, epochs, batch_size, device, tutorial)
                yield Case(
                    work,
                    ours,
                    plain,
                    "plain PyTorch loop",
                    plain_targets.get((name, batch_size), 1.1),
                )

    small = TimeSeries.from_values(100 + 10 * wave(144))
    for name, make in (("tutorial", partial(Tutorial, 64)), ("our network", own_network)):
        yield Case(
            "fit, float64, batch 32, 144 points, defaults (200 steps)",
            partial(small_fit, small, device),
            partial(plain_loop, wave(144), 50, 32, device, make),
            f"plain PyTorch loop, {name}",
            1.0,
        )

    for count in (200, 2000):
        many = [TimeSeries.from_values(wave(200, i).astype("float32")) for i in range(count)]
        yield Case(
            f"fit, float32, batch 256, 1 epoch of {count} series of 200 points",
            partial(fit, LSTMSeqModel, many, 1, 256, device),
            partial(fit, BlockRNNModel, many, 1, 256, device, model="LSTM"),
            "Darts BlockRNN LSTM",
            1.4,
        )


if __name__ == "__main__":
    main(__file__, cases)
