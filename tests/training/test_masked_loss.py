"""Selection and weights of known labels against loops over labels."""

import pytest
import torch
from makers import random_tensor
from torch import Tensor

from darts_lstm_seq.training.masked_loss import (
    per_network_weights,
    select_complete_steps,
    select_known,
)

B, T, C, P = 4, 3, 2, 2
NAN = float("nan")


def prediction_and_label(share: float) -> tuple[Tensor, Tensor]:
    label = random_tensor(B, T, C, seed=1)
    label[random_tensor(B, T, C, seed=2) < torch.tensor(share).erfinv() * 2**0.5] = NAN
    return random_tensor(B, T, C, P), label


@pytest.mark.parametrize("width", [None, 1, C])
def test_known_labels_are_those_of_a_loop(width: int | None) -> None:
    prediction, label = prediction_and_label(0.0)
    weight = None if width is None else random_tensor(B, T, width, seed=3)
    selected = select_known(prediction, label, weight, is_joint=False)
    assert selected is not None
    known = [
        (prediction[b, t, c], label[b, t, c], weight if weight is None else weight[b, t, c % width])
        for b in range(B)
        for t in range(T)
        for c in range(C)
        if not label[b, t, c].isnan()
    ]
    assert 0 < len(known) < B * T * C
    predictions, labels, weights = zip(*known, strict=True)
    assert torch.equal(selected[0], torch.stack(predictions).view(-1, 1, 1, P))
    assert torch.equal(selected[1], torch.stack(labels).view(-1, 1, 1))
    if weight is None:
        assert selected[2] is None
    else:
        assert selected[2] is not None
        assert torch.equal(selected[2], torch.stack(weights).view(-1, 1, 1))


def test_joint_likelihoods_and_metrics_get_complete_steps() -> None:
    prediction, label = prediction_and_label(0.0)
    steps = [(b, t) for b in range(B) for t in range(T) if not label[b, t].isnan().any()]
    assert 0 < len(steps) < B * T
    expected = (
        torch.stack([prediction[b, t] for b, t in steps])[:, None],
        torch.stack([label[b, t] for b, t in steps])[:, None],
    )
    joint, complete = (
        select_known(prediction, label, None, is_joint=True),
        select_complete_steps(prediction, label),
    )
    assert joint is not None
    assert complete is not None
    for selected in (joint[:2], complete):
        for tensor, reference in zip(selected, expected, strict=True):
            assert torch.equal(tensor, reference)


def test_without_missing_labels_nothing_is_copied() -> None:
    prediction, label = random_tensor(B, T, C, P), random_tensor(B, T, C)
    weight = random_tensor(B, T, 1)
    for is_joint in (False, True):
        selected = select_known(prediction, label, weight, is_joint)
        assert selected is not None
        assert all(a is b for a, b in zip(selected, (prediction, label, weight), strict=True))
    complete = select_complete_steps(prediction, label)
    assert complete is not None
    assert complete[0] is prediction


def test_without_a_known_label_nothing_is_selected() -> None:
    prediction, label = random_tensor(B, T, C, P), torch.full((B, T, C), NAN)
    assert select_known(prediction, label, None, is_joint=False) is None
    label[..., 0] = 1.0
    assert select_known(prediction, label, None, is_joint=True) is None
    assert select_complete_steps(prediction, label) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weighted_means_add_up_to_the_means_of_each_network(dtype: torch.dtype) -> None:
    _, label = prediction_and_label(0.0)
    label = torch.cat([label, torch.full((2, T, C), NAN)])  # the last network has no label
    errors = random_tensor(B + 2, T, C, seed=4).square()
    weights = per_network_weights(label, n_networks=3, dtype=dtype)
    assert weights.dtype == dtype
    assert weights.shape == (B + 2, 1, 1)
    known = ~label.isnan()
    mean = (errors * weights)[known].mean()
    expected = sum(errors[rows][known[rows]].mean() for rows in (slice(0, 2), slice(2, 4)))
    assert mean.item() == pytest.approx(float(expected), rel=1e-6)
