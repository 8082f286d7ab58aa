"""Automatic choices: where each of them changes, and that what a user gives is kept."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from darts_lstm_seq.model import defaults


@given(st.integers(1, 1024))
@example(1)
@example(1009)
@example(336)
@example(337)  # a prime number
def test_patches_divide_the_window_and_are_not_far_above_its_root(length: int) -> None:
    patch = defaults.patch_length(length)
    assert length % patch == 0
    assert patch <= 1.5 * length**0.5
    larger = (p for p in range(patch + 1, length + 1) if length % p == 0)
    assert next(larger, length + 1) > 1.5 * length**0.5


@given(st.integers(1025, 20_000))
@example(2003)  # a prime number
@example(2026)  # twice one
@example(4096)
def test_patches_of_long_windows_are_near_its_root(length: int) -> None:
    patch = defaults.patch_length(length)
    assert length**0.5 / 1.6 < patch <= 1.5 * length**0.5
    divisors = [p for p in range(1, int(1.5 * length**0.5) + 1) if length % p == 0]
    if max(divisors) > length**0.5 / 1.5:
        assert patch == max(divisors)


@pytest.mark.parametrize(
    ("n_windows", "length", "steps", "expected"),
    [
        (360, 48, 12, True),
        (361, 48, 12, False),
        (720, 49, 12, True),
        (721, 49, 12, False),
        (30, 1, 1, True),
        (31, 1, 1, False),
    ],
)
def test_low_data_are_counted_in_windows_per_forecast_step(
    n_windows: int, length: int, steps: int, expected: bool
) -> None:
    assert defaults.is_low_data(n_windows, length, steps) is expected


@pytest.mark.parametrize(
    ("n_windows", "batch_size", "expected"),
    [
        (1, 32, 200),  # one step per epoch, 200 steps
        (64, 32, 100),
        (500, 32, 32),  # 16 steps per epoch, a step per window
        (5000, 32, 7),  # 157 steps per epoch, 1000 steps
        (100_000, 32, 4),  # never less
        (100_000, 10**6, 1000),
    ],
)
def test_epochs_give_a_step_per_window_within_bounds(
    n_windows: int, batch_size: int, expected: int
) -> None:
    assert defaults.n_epochs(n_windows, batch_size) == expected


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 1000), (16, 1000), (17, 941), (80, 200), (500, 200)]
)
def test_covariates_take_more_steps_the_shorter_the_window(length: int, expected: int) -> None:
    assert defaults.min_steps(True, length) == expected
    assert defaults.min_steps(False, length) == 200
    assert defaults.n_epochs(64, 32, defaults.min_steps(True, length)) == -(-expected // 2)


@pytest.mark.parametrize("is_tutorial", [True, False])
def test_given_parameters_are_kept_and_none_is_filled_in(is_tutorial: bool) -> None:
    left = {"input_chunk_length": 24, "patch_length": None, "dropout": None, "n_epochs": None}
    chosen = defaults.fill_in(left | {"loss_fn": None}, is_tutorial)
    assert chosen["patch_length"] == (1 if is_tutorial else 6)
    assert chosen["dropout"] == (0.0 if is_tutorial else None)  # chosen by the training windows
    assert isinstance(chosen["loss_fn"], nn.MSELoss if is_tutorial else nn.HuberLoss)
    given_params = {"input_chunk_length": 24, "patch_length": 2, "dropout": 0.0, "n_epochs": 0}
    assert defaults.fill_in(given_params, is_tutorial).items() >= given_params.items()
