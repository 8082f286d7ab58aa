"""Exported to ONNX, the model forecasts the same without PyTorch, to 1e-5."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models import torch as families
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from makers import sine, with_value

from darts_lstm_seq import LSTMSeqModel

onnxruntime = pytest.importorskip("onnxruntime")
onnx_tools = pytest.importorskip("darts.utils.onnx")
pytest.importorskip("onnxscript")
# an export takes two seconds or more
pytestmark = pytest.mark.slow


def agree(
    model: LSTMSeqModel, path: Path, lengths: list[int], series: list[TimeSeries], **covariates: Any
) -> None:
    """Export, run without torch, and compare with `predict`."""
    before = torch.get_rng_state()
    model.to_onnx(str(path))
    assert torch.equal(torch.get_rng_state(), before)
    session = onnxruntime.InferenceSession(str(path))
    for n, target in product(lengths, series):
        found = onnx_tools.run_onnx_prediction(
            n=n, session=session, series=target, verbose=False, **covariates
        )
        expected = model.predict(
            n, target, predict_likelihood_parameters=model.likelihood is not None, **covariates
        )
        assert found.time_index.equals(expected.time_index)
        assert list(found.components) == list(expected.components)
        scale = np.nanstd(target.values())
        np.testing.assert_allclose(found.values() / scale, expected.values() / scale, atol=1e-5)


def test_double_precision_series(tiny: dict[str, Any], tmp_path: Path) -> None:
    series = sine(60, width=2, dtype="float64", scale=4, level=1e6)  # single would show here
    model = LSTMSeqModel(10, 4, **tiny).fit(series)
    agree(model, tmp_path / "model.onnx", [3, 4, 9], [series, series[:-7]])


def test_with_all_options(tiny: dict[str, Any], tmp_path: Path) -> None:
    series = sine(60, width=2, level=30, scale=4)
    model = LSTMSeqModel(
        (4, 10),
        4,
        n_rnn_layers=2,
        patch_length=4,
        shared_weights=True,
        use_reversible_instance_norm={"affine": True},
        **tiny | {"dropout": 0.3},
    ).fit(series)
    agree(model, tmp_path / "model.onnx", [4, 9], [series])


def test_with_all_covariates(tiny: dict[str, Any], tmp_path: Path) -> None:
    static = pd.DataFrame({"size": [1.0, 2.0], "kind": [3.0, 4.0]})
    series = sine(60, width=2).with_static_covariates(static)
    past = sine(80, width=1, name="past", level=1e3)
    future = sine(80, width=3, name="future", level=-5, scale=9)
    covariates = {"past_covariates": past, "future_covariates": future}
    model = LSTMSeqModel(10, 4, **tiny).fit(series, **covariates)
    agree(model, tmp_path / "model.onnx", [4, 9], [series], **covariates)


def test_quantiles(tiny: dict[str, Any], tmp_path: Path) -> None:
    series = sine(60, level=30, scale=4)
    known = sine(80, name="known")
    model = LSTMSeqModel(10, 4, likelihood=QuantileRegression([0.1, 0.5, 0.9]), **tiny)
    model.fit(series, future_covariates=known)
    agree(model, tmp_path / "model.onnx", [4], [series], future_covariates=known)


def test_a_family_and_a_shift(tiny: dict[str, Any], tmp_path: Path) -> None:
    series = sine(60, level=30, scale=4)
    likelihood = GaussianLikelihood()
    model = LSTMSeqModel(10, 4, output_chunk_shift=2, likelihood=likelihood, **tiny).fit(series)
    path = tmp_path / "model.onnx"
    model.to_onnx(str(path))
    raw = onnx_tools.run_onnx_prediction(
        n=4, session=onnxruntime.InferenceSession(str(path)), series=series, verbose=False
    )
    told = model.predict(4, predict_likelihood_parameters=True)
    assert raw.time_index.equals(told.time_index)
    assert list(raw.components) == list(told.components)
    # the graph of every model of Darts ends before the likelihood makes parameters of its outputs
    parameters = likelihood._params_from_output(torch.as_tensor(raw.values())[None, :, None])
    joined = torch.cat(parameters, dim=-1)[0].numpy()
    np.testing.assert_allclose(joined, told.values(), rtol=1e-5)


def test_windows_with_gaps(tiny: dict[str, Any], tmp_path: Path) -> None:
    whole = sine(60, width=2, level=30, scale=4)
    inside = with_value(with_value(whole, [20, 40, 52, 53], component=0), 55, component=1)
    at_the_end = with_value(inside, slice(-2, None))
    model = LSTMSeqModel(10, 4, **tiny).fit(inside)
    agree(model, tmp_path / "model.onnx", [4, 9], [whole, inside, at_the_end])


def test_an_unfitted_model_is_not_exported(tiny: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`fit\(\)` needs to be called"):
        LSTMSeqModel(10, 4, **tiny).to_onnx(str(tmp_path / "model.onnx"))


FAMILIES = {
    # and the values that each can tell of
    **dict.fromkeys(["Gaussian", "Laplace", "Cauchy", "Gumbel"], "real"),
    **dict.fromkeys(["Exponential", "Gamma", "HalfNormal", "LogNormal", "Weibull"], "positive"),
    **dict.fromkeys(["Poisson", "NegativeBinomial", "Geometric"], "counts"),
    **dict.fromkeys(["Beta", "ContinuousBernoulli", "Dirichlet"], "shares"),
    "Bernoulli": "binary",
}


@pytest.mark.parametrize(
    ("family", "dtype"),
    # runtimes lack more operations in double precision
    [
        *((family, "float64") for family in FAMILIES),
        *((family, "float32") for family in ("Gaussian", "NegativeBinomial", "Beta")),
    ],
)
def test_every_likelihood_in_both_precisions(
    family: str, dtype: str, tiny: dict[str, Any], tmp_path: Path
) -> None:
    share = np.random.default_rng(0).uniform(0.1, 0.9, 60)
    values = {
        "real": 30 + 4 * share,
        "positive": 20 * share,
        "counts": np.ceil(20 * share),
        "shares": share,
        "binary": share.round(),
    }[FAMILIES[family]]
    series = TimeSeries.from_values(np.stack([values, 1 - share], axis=1).astype(dtype))
    if family != "Dirichlet":
        series = series[series.components[0]]
    likelihood = getattr(families, f"{family}Likelihood")()
    model = LSTMSeqModel(3, 2, likelihood=likelihood, **tiny).fit(series)
    path = tmp_path / "model.onnx"
    model.to_onnx(str(path))
    session = onnxruntime.InferenceSession(str(path))
    window = series.values()[None, -3:]
    (raw,) = session.run(None, {session.get_inputs()[0].name: window})
    parameters = likelihood.predict_likelihood_parameters(torch.as_tensor(raw))
    expected = model.predict(2, predict_likelihood_parameters=True).values()
    np.testing.assert_allclose(parameters.flatten(), expected.flatten(), rtol=1e-5)
