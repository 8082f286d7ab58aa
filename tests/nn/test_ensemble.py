"""Ensembles against their members, one by one."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.metrics import mae
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from makers import random_tensor

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.nn.ensemble import EnsembleNetwork
from darts_lstm_seq.nn.skip import SeasonalSkip

FLOAT = torch.float32
K, L, T, C = 3, 8, 4, 2


def _network(**changes: Any) -> EnsembleNetwork:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "past_dim": C,
        "output_chunk_length": T,
        "output_dim": C,
        "hidden_dim": 5,
        "target_dim": C,
        "skip": SeasonalSkip(L, T),
    }
    network = EnsembleNetwork(K, **settings | changes)
    with torch.no_grad():  # with a skip the output layers start at zero
        for name, weight in network.stack.weights.items():
            if name.startswith(("head", "skip")):
                weight.normal_()
    return network


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"skip": None},
        {"n_rnn_layers": 2, "patch_length": 3},
        {"future_dim": 2, "static_dim": 3, "mask_inputs": True},
        {"output_dim": 3 * C, "skip_outputs": 3},
    ],
)
def test_the_forecast_is_the_mean_of_the_members(changes: dict[str, Any]) -> None:
    network = _network(**changes)
    network.initialize_skip(season=4, n_windows=20)
    past = random_tensor(6, L, C, dtype=FLOAT)
    future = random_tensor(6, T, 2, seed=1, dtype=FLOAT) if "future_dim" in changes else None
    static = random_tensor(6, 3, seed=2, dtype=FLOAT) if "static_dim" in changes else None
    alone = [member(past, future, static) for member in network.members()]
    assert (alone[0] - alone[1]).abs().max() > 0.01  # their initial weights differ
    torch.testing.assert_close(network(past, future, static), sum(alone) / K, rtol=1e-5, atol=1e-5)
    network.member_of_row = torch.tensor([2, 0, 1, 1, 0, 2])
    chosen = torch.stack([alone[k][row] for row, k in enumerate(network.member_of_row.tolist())])
    torch.testing.assert_close(network(past, future, static), chosen, rtol=1e-5, atol=1e-5)
    states = torch.cat([member.encode(past, static) for member in network.members()], dim=1)
    torch.testing.assert_close(network.encode(past, static), states)


def test_each_member_learns_from_its_own_rows() -> None:
    network = _network()
    network.initialize_skip(season=4, n_windows=20)
    past = random_tensor(K * 2, L, C, dtype=FLOAT)
    members = network.members()
    forecasts = network.forward_per_member(past, None, None)
    for k, member in enumerate(members):
        rows = slice(2 * k, 2 * k + 2)
        torch.testing.assert_close(forecasts[rows], member(past[rows]), rtol=1e-5, atol=1e-5)
    forecasts.square().sum().backward()
    for k, member in enumerate(members):
        member(past[2 * k : 2 * k + 2]).square().sum().backward()
        for name, weight in member.named_parameters():
            stacked = network.stack.weights[name.replace(".", "/")].grad
            assert stacked is not None
            torch.testing.assert_close(stacked[k], weight.grad, rtol=1e-4, atol=1e-4)


def test_initialised_skips_are_part_of_the_state_dict() -> None:
    network, other = _network(), _network()
    network.initialize_skip(season=4, n_windows=20)
    past = random_tensor(2, L, C, dtype=FLOAT)
    assert not torch.allclose(other(past), network(past))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(past), network(past))


# --- as a model ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ensemble(seasonal: TimeSeries, trainer_kwargs: dict[str, Any]) -> LSTMSeqModel:
    return LSTMSeqModel(
        12,
        3,
        hidden_dim=8,
        n_members=K,
        n_epochs=3,
        random_state=0,
        pl_trainer_kwargs=dict(trainer_kwargs),
    ).fit(seasonal)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_samples_are_the_members_forecasts(ensemble: LSTMSeqModel, n: int) -> None:
    samples = ensemble.predict(n, num_samples=2 * K).all_values()[:, 0]  # (n, 2K)
    np.testing.assert_allclose(samples[:, :K], samples[:, K:])
    assert (np.ptp(samples, axis=1) > 0).all()
    if n == 3:  # beyond the chunk each member continues its own forecasts
        np.testing.assert_allclose(
            samples.mean(axis=1), ensemble.predict(n).values()[:, 0], rtol=1e-5
        )
    # also in small batches and for several series
    series = [ensemble.training_series, ensemble.training_series[:-5]]
    for forecast in ensemble.predict(n, series=series, num_samples=K, batch_size=2):
        assert (np.ptp(forecast.all_values(), axis=2) > 0).all()
    again = ensemble.predict(n, series=series, num_samples=K, batch_size=2)[0].all_values()
    np.testing.assert_allclose(again[:, 0], samples[:, :K], rtol=1e-5)


def test_it_is_saved_copied_and_loaded(ensemble: LSTMSeqModel) -> None:
    expected = ensemble.predict(5).values()
    ensemble.save("ensemble.pt")
    fresh = LSTMSeqModel(**ensemble.model_params)
    fresh.load_weights("ensemble.pt")
    for model in (LSTMSeqModel.load("ensemble.pt"), copy.deepcopy(ensemble), fresh):
        values = model.predict(5, series=ensemble.training_series).values()
        np.testing.assert_array_equal(values, expected)


def test_encode_concatenates_the_states_of_the_members(ensemble: LSTMSeqModel) -> None:
    assert ensemble.encode(ensemble.training_series).shape == (1, K * 8)


@pytest.mark.parametrize("likelihood", [QuantileRegression([0.1, 0.5, 0.9]), GaussianLikelihood()])
@pytest.mark.parametrize("options", [{}, {"shared_weights": True}])
def test_ensembles_of_any_model(
    likelihood: Any, options: dict[str, Any], seasonal: TimeSeries, tiny: dict[str, Any]
) -> None:
    both = seasonal.stack(seasonal * 3 + 1)
    model = LSTMSeqModel(12, 3, likelihood=likelihood, n_members=2, **tiny, **options)
    model.fit(both[:-12], val_series=both)
    parameters = model.predict(3, predict_likelihood_parameters=True).values()
    assert np.abs(parameters).max() < 1e3  # the series reach 430
    assert model.predict(5, num_samples=4).shape == (5, 2, 4)
    plain = LSTMSeqModel(12, 3, n_members=2, **tiny, **options).fit(both[:-12])
    samples = plain.predict(3, num_samples=2).all_values()
    np.testing.assert_allclose(samples.mean(axis=2), plain.predict(3).values(), rtol=1e-4)


def test_it_is_backtested(seasonal: TimeSeries, tiny: dict[str, Any]) -> None:
    model = LSTMSeqModel(12, 3, n_members=2, **tiny)
    kwargs: dict[str, Any] = {"start": -4, "start_format": "position", "stride": 2}
    forecasts = model.historical_forecasts(seasonal, retrain=True, **kwargs)
    assert mae(seasonal, forecasts) < 15  # the season has an amplitude of 10, the noise of 0.5


def test_each_member_is_clipped_like_a_single_network(tiny: dict[str, Any]) -> None:
    series = TimeSeries.from_values(np.sin(np.arange(40.0)))
    trainer = tiny["pl_trainer_kwargs"] | {"gradient_clip_val": 0.01}
    changes = {
        "dropout": 0.0,
        "n_epochs": 1,
        "batch_size": 64,  # a single step
        "optimizer_cls": torch.optim.SGD,
        "optimizer_kwargs": {"lr": 1.0},
        "lr_scheduler_cls": torch.optim.lr_scheduler.ConstantLR,
        "lr_scheduler_kwargs": {"factor": 1.0},
    }
    params = tiny | changes | {"pl_trainer_kwargs": trainer, "n_members": K}
    weights = []
    for epochs in (0, 1):
        model = LSTMSeqModel(6, 2, **params | {"n_epochs": epochs}).fit(series)
        weights.append(torch.cat([w.flatten(1) for w in model.model.network.parameters()], dim=1))
    lengths = (weights[1] - weights[0]).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((K,), 0.01), rtol=1e-3, atol=0.0)


def test_a_wrong_number_of_members_is_refused(tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="n_members` must be an integer >= 1, received 0"):
        LSTMSeqModel(12, 3, n_members=0, **tiny)
