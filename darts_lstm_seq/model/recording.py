"""The folds of Darts' backtest loop: recorded first, replayed once they are trained.

Darts' loop creates an untrained copy of its model for each fold, fits it and predicts with it. With
a `FoldRecorder`, fitting prepares a training and predicting returns placeholders; a `FoldReplayer`
returns the same models, trained in the meantime, in the same order. `backtest.py` decides when they
are attached to a model, and trains in between.

Source: `untrained_model`, `_fit_wrapper` and `_predict_wrapper` as the loop of
`darts.models.forecasting.ForecastingModel.historical_forecasts` calls them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from darts import TimeSeries
from darts.typing import TimeSeriesLike
from darts.utils.ts_utils import series2seq
from darts.utils.utils import generate_index

from darts_lstm_seq.compat import time_index
from darts_lstm_seq.model.stacking import CannotStackError
from darts_lstm_seq.training.prepared import Training

if TYPE_CHECKING:
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel


class BacktestHooks(Protocol):
    """Replaces a model's own methods while Darts' loop runs."""

    def untrained_model(self, make: Callable[[], "LSTMSeqModel"]) -> "LSTMSeqModel":
        """Return the model of the next fold."""

    def fit(self, model: "LSTMSeqModel", arguments: dict[str, Any]) -> "LSTMSeqModel":
        """Return the model, as its `fit` does."""

    def predict(
        self,
        model: "LSTMSeqModel",
        predict: Callable[[], TimeSeriesLike],
        arguments: dict[str, Any],
    ) -> TimeSeriesLike:
        """Return a forecast, as the model's `predict` does."""


@dataclass
class FoldRecorder:
    """Prepares the training of each fold, and makes no forecasts.

    Attributes
    ----------
    prepared
        The model and the training of each fold, in the order of the loop.
    """

    prepared: list[tuple["LSTMSeqModel", Training]] = field(default_factory=list)

    def untrained_model(self, make: Callable[[], "LSTMSeqModel"]) -> "LSTMSeqModel":
        """Return a new model that records, too."""
        model = make()
        model.backtest_hooks = self
        return model

    def fit(self, model: "LSTMSeqModel", arguments: dict[str, Any]) -> "LSTMSeqModel":
        """Prepare the training of a fold.

        Raises
        ------
        CannotStackError
            If this fold cannot be trained in a stack.
        """
        if arguments.pop("val_series", None) is not None:
            raise CannotStackError("there is a validation set")
        training = model.prepare_training(**arguments)
        self.prepared.append((model, training))
        model.take_module(training)  # the loop asks whether a model is fitted
        return model

    def predict(
        self,
        model: "LSTMSeqModel",
        predict: Callable[[], TimeSeriesLike],
        arguments: dict[str, Any],
    ) -> TimeSeriesLike:
        """Return forecasts that only have the right shape."""
        return placeholder_forecasts(model, **arguments)


@dataclass
class FoldReplayer:
    """Returns trained models in the order of the loop; they predict as usual.

    Parameters
    ----------
    models
        In the order of the loop.
    """

    models: Sequence["LSTMSeqModel"]
    n_handed_out: int = 0

    def untrained_model(self, make: Callable[[], "LSTMSeqModel"]) -> "LSTMSeqModel":
        """Return the trained model of the next fold."""
        model = self.models[self.n_handed_out]
        self.n_handed_out += 1
        model.backtest_hooks = self
        return model

    def fit(self, model: "LSTMSeqModel", arguments: dict[str, Any]) -> "LSTMSeqModel":
        """Return the model, which is fitted already."""
        return model

    def predict(
        self,
        model: "LSTMSeqModel",
        predict: Callable[[], TimeSeriesLike],
        arguments: dict[str, Any],
    ) -> TimeSeriesLike:
        """Return the model's own forecast."""
        return predict()


def placeholder_forecasts(
    model: "LSTMSeqModel",
    n: int,
    series: TimeSeriesLike,
    num_samples: int = 1,
    predict_likelihood_parameters: bool = False,
    **_: Any,
) -> TimeSeriesLike:
    """Return what `predict` would, with the last value of each series in the place of forecasts.

    Parameters
    ----------
    model
        The model; needs no training.
    n, series, num_samples, predict_likelihood_parameters
        As for `predict`.

    Returns
    -------
    TimeSeriesLike
        `n` steps after the end of the series and the output chunk shift, with as many components
        and samples as the forecast would have.
    """
    forecasts = [
        _placeholder_forecast(model, n, target, num_samples, predict_likelihood_parameters)
        for target in series2seq(series)
    ]
    return forecasts[0] if isinstance(series, TimeSeries) else forecasts


def _placeholder_forecast(
    model: "LSTMSeqModel", n: int, series: TimeSeries, num_samples: int, parameters: bool
) -> TimeSeries:
    start = series.end_time() + (model.output_chunk_shift + 1) * series.freq
    times = generate_index(start=start, length=n, freq=series.freq, name=time_index(series).name)
    last = series.all_values(copy=False)[-1:, :, :1]  # (1, C, 1)
    if parameters and model.likelihood is not None:
        names = model.likelihood.component_names(series)
        width = len(names) // series.n_components
        return TimeSeries(
            times=times,
            values=np.tile(last.repeat(width, axis=1), (n, 1, 1)),
            components=names,
        )
    return series.with_times_and_values(times, np.tile(last, (n, 1, num_samples)))
