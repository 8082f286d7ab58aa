"""Missing values are imputed as an obvious loop does it, in any window, traced or not."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import bridge_gaps
from torch import Tensor, nn

from darts_lstm_seq.nn.imputation import impute

NAN = float("nan")


class _Filler(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return impute(x)


windows = st.lists(st.one_of(st.just(NAN), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=40)


@settings(deadline=None)
@given(windows)
@example([NAN]).via("a single step, missing")
@example([3.0]).via("a single step")
@example([NAN] * 9).via("nothing known")
@example([1.0, 2.0, 4.0]).via("nothing missing")
@example([NAN, NAN, 1.0, 5.0]).via("leading gap")
@example([1.0, 5.0, NAN, NAN]).via("trailing gap")
@example([NAN, 2.0, NAN]).via("one known value")
@example([1.0, *[NAN] * 16, 18.0]).via("a gap as long as a power of two")
@example([1.0, *[NAN] * 17, 19.0]).via("a gap longer than a power of two")
@example([0.0, NAN, 0.0, NAN, NAN, 3.0]).via("several gaps")
def test_imputation_equals_the_loop(values: list[float]) -> None:
    window = np.array(values)
    filled, missing = impute(torch.tensor(window)[None, :, None])
    np.testing.assert_allclose(filled[0, :, 0], bridge_gaps(window), rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(missing[0, :, 0], np.isnan(window))


def test_the_loop_itself() -> None:
    window = np.array([NAN, 1.0, NAN, NAN, 4.0, NAN])
    np.testing.assert_array_equal(bridge_gaps(window), [1, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(bridge_gaps(np.array([NAN, NAN])), [0, 0])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("length", [2, 3, 8, 13])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_windows_and_features_do_not_mix(share: float, length: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, length, 3))
    x[rng.random(x.shape) < share] = NAN
    filled, missing = impute(torch.tensor(x, dtype=dtype))
    expected = np.apply_along_axis(bridge_gaps, 1, x)
    assert filled.dtype == dtype
    assert missing.dtype == torch.bool
    np.testing.assert_allclose(filled, expected, atol=1e-12 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_a_traced_graph_equals_eager_mode(length: int) -> None:
    rng = np.random.default_rng(length)
    batch = torch.export.Dim("batch", min=1)
    whole = torch.zeros(2, length, 3, dtype=torch.float64)  # no missing value while tracing
    traced = torch.export.export(_Filler(), (whole,), dynamic_shapes=({0: batch},)).module()
    for share in (0.0, 0.5, 1.0):
        x = rng.normal(size=(20, length, 3))
        x[rng.random(x.shape) < share] = NAN
        for eager, graph in zip(impute(torch.tensor(x)), traced(torch.tensor(x)), strict=True):
            torch.testing.assert_close(eager, graph, rtol=1e-12, atol=1e-12)


def test_known_values_stay_bit_for_bit() -> None:
    x = torch.tensor([[[1e30], [NAN], [-1e-30], [0.1]]])
    filled, _ = impute(x)
    assert torch.equal(filled[0, [0, 2, 3]], x[0, [0, 2, 3]])
    assert -1e-30 <= filled[0, 1, 0] <= 1e30  # between its neighbours


def test_the_input_is_not_changed() -> None:
    x = torch.tensor([[[1.0], [NAN]]])
    impute(x)
    assert torch.isnan(x[0, 1, 0])


def test_half_precision() -> None:
    x = torch.tensor([[[1.0], [NAN], [NAN], [4.0]]], dtype=torch.float16)
    filled, _ = impute(x)
    assert filled.dtype == torch.float16
    assert filled.flatten().tolist() == pytest.approx([1, 2, 3, 4], rel=1e-3)


def test_gradients_pass_through_the_known_values_alone() -> None:
    x = torch.tensor([[[1.0], [NAN], [3.0], [NAN]]], requires_grad=True)
    filled, _ = impute(x)
    (gradient,) = torch.autograd.grad(filled.sum(), x)
    # an imputed value is the mean of its neighbours, at the end the last value
    assert gradient.flatten().tolist() == pytest.approx([1.5, 0.0, 2.5, 0.0])
