"""Initial weights from training windows: the skip of all components, biases of distributions."""

import numpy as np
import pytest
import torch
from makers import random_tensor
from torch import Tensor

from darts_lstm_seq.nn.imputation import impute
from darts_lstm_seq.nn.ridge import fit_ridge, fit_season_weights
from darts_lstm_seq.training.initialization import (
    fit_share_and_biases,
    quantile_biases,
    ridge_skip_weights,
)

NAN = float("nan")


def test_the_windows_of_all_components_are_regressed_together() -> None:
    past, label = random_tensor(20, 8, 2), random_tensor(20, 3, 2, seed=1)
    past[3, 2, 1] = label[5, 1, 0] = NAN
    weights = ridge_skip_weights(past, label, season=4, n_windows=40, shift=2)
    rows = torch.cat([impute(past)[0][..., component] for component in range(2)])
    labels = torch.cat([label[..., component] for component in range(2)])
    expected = fit_ridge(rows, labels, season=4, n_windows=40, shift=2)
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-12)


def test_long_windows_have_weights_of_features() -> None:
    past, label = random_tensor(20, 1100, 2), random_tensor(20, 3, 2, seed=1)
    past[3, 2, 1] = label[5, 1, 0] = NAN
    weights = ridge_skip_weights(past, label, season=100, n_windows=40, shift=2)
    rows = torch.cat([impute(past)[0][..., component] for component in range(2)])
    labels = torch.cat([label[..., component] for component in range(2)])
    expected = fit_season_weights(rows, labels, season=100, n_windows=40, shift=2)
    assert expected.shape == (1, 2 * 11 + 3)
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-12)


def test_biases_are_numpys_quantiles_relative_to_the_median() -> None:
    errors, levels = random_tensor(50, 3, 2), [0.05, 0.5, 0.7]
    errors[4, 1, 0] = NAN
    quantiles = np.nanquantile(errors.numpy(), levels, axis=0)  # (P, T, C)
    expected = (quantiles - quantiles[1]).transpose(1, 2, 0)  # (T, C, P)
    np.testing.assert_allclose(quantile_biases(errors, levels).view(3, 2, 3), expected, rtol=1e-6)


def test_without_labels_the_biases_are_zero() -> None:
    errors = random_tensor(50, 2, 1)
    errors[:, 1] = NAN
    biases = quantile_biases(errors, [0.1, 0.5]).view(2, 2)
    assert biases[0, 0] < 0
    assert biases[1].tolist() == [0, 0]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_share_and_biases_are_those_of_the_greatest_likelihood(share: float) -> None:
    skip, noise = random_tensor(4000, 1), 0.3 * random_tensor(4000, 1, seed=1)
    label = 2 + share * skip + noise

    def loss(share: float, biases: Tensor) -> Tensor:
        location, log_scale = biases[:, 0] + share * skip, biases[:, 1]
        return -torch.distributions.Normal(location, log_scale.exp()).log_prob(label).mean()

    found, biases = fit_share_and_biases(loss, (1, 2))
    assert found == share
    torch.testing.assert_close(biases, torch.tensor([[2.0, float(np.log(0.3))]]), rtol=0, atol=0.03)


def test_a_search_that_fails_leaves_the_biases() -> None:
    def loss(share: float, biases: Tensor) -> Tensor:
        if biases.any():
            raise ValueError("out of range")
        return (biases - 1).square().sum()

    share, biases = fit_share_and_biases(loss, (2, 1))
    assert share == 1
    assert not biases.any()
