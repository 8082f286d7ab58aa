"""The dispersion of a distribution is fitted after a training with dropout, and only then."""

from typing import Any

import pytest
import torch
from darts.utils.likelihood_models import torch as families
from makers import sine

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.batching.batches import draw_batch


def fitted(tiny: Any, family: str, **params: Any) -> LSTMSeqModel:
    likelihood = getattr(families, f"{family}Likelihood")()
    model = LSTMSeqModel(12, 3, likelihood=likelihood, **{**tiny, "dropout": 0.5, **params})
    return model.fit(sine(60, "MS", 2, level=10, scale=3, noise=0.5))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("family", ["Gaussian", "Gamma"])
def test_no_other_dispersion_is_more_likely(tiny: Any, family: str, shared: bool) -> None:
    model = fitted(tiny, family, shared_weights=shared)
    module = model.model
    dataset = model._build_train_dataset([model.training_series], None, None, None, None)
    batch = draw_batch(dataset, list(range(len(dataset))))
    outputs, loss = module._outputs_and_loss(batch)
    least = loss(outputs).item()
    for component in range(2):
        for step in (-0.1, 0.1):
            moved = outputs.clone()
            moved[..., component, 1] += step
            assert loss(moved).item() > least or shared
    for step in (-0.1, 0.1):
        assert loss(outputs + step * torch.tensor([0.0, 1.0])).item() > least


@pytest.mark.parametrize(
    ("family", "params"), [("Gaussian", {"dropout": 0.0}), ("Exponential", {}), ("Gaussian", {})]
)
def test_what_is_not_learnt_with_dropout_stays(
    tiny: Any, family: str, params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = []
    network_cls = type(fitted(tiny, family, **params).model.network)
    add = network_cls.add_to_output_bias
    monkeypatch.setattr(
        network_cls,
        "add_to_output_bias",
        lambda self, shift: (changes.append(shift), add(self, shift)),
    )
    fitted(tiny, family, **params)
    is_refitted = family == "Gaussian" and not params
    assert len(changes) == 1 + is_refitted  # before the training, and after it
    if is_refitted:
        assert (changes[1].view(-1, 2)[:, 0] == 0).all()  # locations stay


def test_a_later_fit_refits(tiny: Any) -> None:
    model = fitted(tiny, "Gaussian")
    before = model.predict(3, num_samples=50).all_values().std()
    model.fit(sine(60, "MS", 2, level=10, scale=3, noise=3.0), epochs=1)
    assert model.predict(3, num_samples=50).all_values().std() > before
    assert model.model._dispersion_batch is None
