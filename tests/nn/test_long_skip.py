"""The skip of long windows against `SeasonalSkip`, which has a weight for every step."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from makers import random_tensor
from torch import nn

from darts_lstm_seq.nn.ensemble import EnsembleNetwork
from darts_lstm_seq.nn.long_skip import MAX_DENSE_WINDOW, LongSkip, latest_and_blocks, make_skip
from darts_lstm_seq.nn.network import LSTMSeqNetwork
from darts_lstm_seq.nn.ridge import fit_ridge, fit_season_weights
from darts_lstm_seq.nn.skip import SeasonalSkip
from darts_lstm_seq.nn.stacked import StackedNetwork

D = MAX_DENSE_WINDOW
SIZES = [  # input steps, output steps, season, shift
    (D + 1, 1, 1, 0),
    (D + 1, 5, 1, 3),
    (D + 1, 30, 7, 0),
    (D + 1, 12, 24, 30),
    (D + 1, 3, (D + 1) // 2, 0),
    (1500, 40, 24, 5),
    (1500, 2, 700, 699),
    (2000, 9, 2, 1),
]


def _pair(length: int, steps: int, shift: int) -> tuple[LongSkip, SeasonalSkip]:
    long, dense = LongSkip(length, steps, shift).double(), SeasonalSkip(length, steps, shift)
    with torch.no_grad():
        long.coefficients.copy_(random_tensor(6, seed=1))
        dense.double().coefficients.copy_(long.coefficients)
    return long, dense


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize(("length", "steps", "season", "shift"), SIZES)
def test_level_trend_and_season_are_those_of_the_dense_skip(
    length: int, steps: int, season: int, shift: int, share: float
) -> None:
    long, dense = _pair(length, steps, shift)
    # with one step more than the limit, all steps are read one by one, and the priors are equal
    n_windows = 3 * length if length == D + 1 else 0
    for skip in (long, dense):
        skip.initialize(season, n_windows, share=share)
    windows = random_tensor(3, length, 2, seed=2)
    torch.testing.assert_close(long(windows), dense(windows), rtol=0, atol=1e-6)
    assert long.lr_scale == dense.lr_scale


@pytest.mark.parametrize(
    ("length", "steps", "season", "shift"), [size for size in SIZES if size[2] > 1]
)
def test_the_regression_has_the_forecasts_of_the_dense_one(
    length: int, steps: int, season: int, shift: int
) -> None:
    past, future = random_tensor(40, length), 3 * random_tensor(40, steps, seed=1)
    future[0] *= 10  # a level shift
    future[1, 0] = torch.nan
    weights = fit_season_weights(past, future, season, 99, shift)
    long, dense = _pair(length, steps, shift)
    for skip, base in ((long, weights), (dense, fit_ridge(past, future, season, 99, shift))):
        skip.initialize(season, n_windows=0, weights=base)
        with torch.no_grad():
            skip.weight.normal_()  # is not used
    windows = past[:3].unsqueeze(-1)
    torch.testing.assert_close(long(windows), dense(windows), rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [D + 1, D + 2, D + 17, 4 * D])
def test_the_matrix_reads_the_latest_steps_and_block_means(length: int) -> None:
    skip = LongSkip(length, 3).double()
    skip.initialize(season=1, n_windows=10**12)  # nothing but the last value and the matrix
    with torch.no_grad():
        skip.weight.copy_(random_tensor(*skip.weight.shape))
    window = random_tensor(length, seed=1).numpy()
    older = window[:-D]
    count = int(len(older) ** 0.5)
    size = len(older) // count
    blocks = [older[len(older) - (count - k) * size :][:size].mean() for k in range(count)]
    read = np.array([*blocks, *window[-D:]])
    np.testing.assert_allclose(latest_and_blocks(torch.from_numpy(window)), read, atol=1e-12)
    expected = window[-1] + 3 * skip.weight.detach().numpy() @ read
    found = skip(torch.from_numpy(window).view(1, -1, 1))[0, :, 0]
    np.testing.assert_allclose(found.detach(), expected, rtol=0, atol=1e-4)


def test_the_size_hardly_depends_on_the_window() -> None:
    def size(length: int) -> int:
        return sum(tensor.numel() for tensor in LongSkip(length, 720).state_dict().values())

    assert size(16 * D) < 1.1 * size(D + 1)
    assert isinstance(make_skip(D, 3), SeasonalSkip)
    assert isinstance(make_skip(D + 1, 3, 2), LongSkip)


def test_another_season_leaves_nothing_of_the_last_one() -> None:
    skip, fresh = LongSkip(1500, 30), LongSkip(1500, 30)
    for season in (2, 24):
        skip.initialize(season, n_windows=50)
    fresh.initialize(24, n_windows=50)
    for name, tensor in skip.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name])


def test_a_loaded_skip_has_the_season() -> None:
    skip, other = LongSkip(1500, 30, 2), LongSkip(1500, 30, 2)
    skip.initialize(24, n_windows=5000)
    other.load_state_dict(skip.state_dict())
    windows = random_tensor(2, 1500, 3).float()
    assert torch.equal(skip(windows), other(windows))
    assert torch.equal(skip(windows), copy.deepcopy(other)(windows))


SIZE: dict[str, Any] = {
    "past_dim": 2,
    "output_chunk_length": 4,
    "output_dim": 4,
    "hidden_dim": 3,
    "patch_length": 50,
    "target_dim": 2,
    "skip_outputs": 1,
}


def _networks(seasons: list[int]) -> list[LSTMSeqNetwork]:
    torch.manual_seed(0)
    networks = []
    for season in seasons:
        skip = LongSkip(1100, 4, output_chunk_shift=3)
        skip.initialize(season, n_windows=5000 * season)
        networks.append(LSTMSeqNetwork(skip=skip, **SIZE).double())
        for weight in networks[-1].parameters():
            nn.init.uniform_(weight, -0.1, 0.1)
    return networks


@pytest.mark.parametrize("running", [1, 3])
def test_a_stack_equals_its_networks(running: int) -> None:
    networks = _networks([24, 1, 500])
    stack = StackedNetwork(networks)
    past = random_tensor(running, 5, 1100, 2)
    forecasts = stack(past)
    expected = torch.stack([network(x) for network, x in zip(networks, past, strict=False)])
    torch.testing.assert_close(forecasts, expected, rtol=0, atol=1e-8)
    for x in (forecasts, expected):
        x.square().sum().backward()
    for k, network in enumerate(networks[:running]):
        for name, weight in network.named_parameters():
            stacked = stack.weights[name.replace(".", "/")].grad[k]
            torch.testing.assert_close(stacked, weight.grad, rtol=1e-6, atol=1e-8)
        copied = _networks([7])[0]
        stack.unstack(k, copied)
        assert torch.equal(copied(past[0]), network(past[0]))


def test_a_loaded_ensemble_has_the_season() -> None:
    ensembles = [EnsembleNetwork(2, skip=LongSkip(1100, 4), **SIZE) for _ in range(2)]
    ensembles[0].initialize_skip(season=24, n_windows=50)
    ensembles[1].load_state_dict(ensembles[0].state_dict())
    past = random_tensor(3, 1100, 2).float()
    found = [ensemble(past) for ensemble in ensembles]
    assert torch.equal(*found)
    members = [member(past) for member in ensembles[1].members()]
    torch.testing.assert_close(found[0], sum(members) / 2, rtol=0, atol=1e-5)


def test_weights_of_a_dense_skip_are_refused() -> None:
    skips = {cls: cls(1100, 4) for cls in (SeasonalSkip, LongSkip)}
    with pytest.raises(ValueError, match=r"each of 1100 input steps. Fit the model again"):
        skips[LongSkip].load_state_dict(skips[SeasonalSkip].state_dict())
    dense, long = (EnsembleNetwork(2, skip=skip, **SIZE) for skip in skips.values())
    with pytest.raises(ValueError, match=r"each of 1100 input steps. Fit the model again"):
        long.load_state_dict(dense.state_dict())
