"""What a model can use of a series and its covariates, and what it cannot take.

Source: the properties `supports_...` of Darts' models.
"""

import numpy as np
from darts import TimeSeries
from darts.dataprocessing.transformers import MissingValuesFiller
from darts.models import MultivariateModel
from darts.models.forecasting.forecasting_model import ForecastingModel

from darts_lstm_seq.comparison.inputs import Inputs
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel


def is_zero_shot(model: ForecastingModel) -> bool:
    """Tell whether a model is a pre-trained one that is not trained further."""
    return (
        isinstance(model, LSTMSeqModel)
        and model.pretrained_season is not None
        and model.n_epochs == 0
    )


def prepare(model: ForecastingModel, inputs: Inputs) -> tuple[ForecastingModel, Inputs]:
    """Return a model that takes all components, and what it can use, without missing values.

    Parameters
    ----------
    model
        A model.
    inputs
        A series with covariates; `LSTMSeqModel` masks missing values itself, for others they are
        interpolated.
    """
    series, past, future = inputs
    if is_zero_shot(model):  # pre-trained without covariates
        past = future = None
    inputs = Inputs(
        series,
        past if model.supports_past_covariates else None,
        future if model.supports_future_covariates else None,
    )
    if series.n_components > 1 and not model.supports_multivariate:
        model = MultivariateModel(model)
    return model, inputs


def filled(model: ForecastingModel, series: TimeSeries) -> TimeSeries:
    """Return a series without missing values, unless the model masks them itself."""
    if isinstance(model, LSTMSeqModel) or not np.isnan(series.values(copy=False)).any():
        return series
    return MissingValuesFiller().transform(series)
