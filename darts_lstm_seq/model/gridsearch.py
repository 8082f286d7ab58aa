"""Darts' `gridsearch` with networks that are trained in stacks, over configurations and folds.

Darts' own method runs, with `GridModels` in the place of the model class. When it makes the model
of a configuration, the backtests of that one and the following ones are recorded and trained
together; Darts then backtests each model as ever, and is handed its trained folds.

Source: `darts.models.forecasting.forecasting_model.ForecastingModel.gridsearch`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from darts_lstm_seq.model.recording import FoldRecorder, FoldReplayer
from darts_lstm_seq.model.stacking import train_stacks, unsupported_reason
from darts_lstm_seq.parallel import quiet_logging

if TYPE_CHECKING:
    from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel

# trainings that are held at a time
_MAX_PREPARED = 256
# arguments of `gridsearch` that it passes on to the backtest of each configuration
_BACKTEST = (
    "series",
    "past_covariates",
    "future_covariates",
    "start",
    "start_format",
    "forecast_horizon",
    "stride",
    "last_points_only",
    "data_transformers",
    "fit_kwargs",
    "predict_kwargs",
    "sample_weight",
    "random_state",
)


class GridModels:
    """Takes the place of the class in Darts' `gridsearch`, whose models it makes in order.

    Parameters
    ----------
    cls
        The class of the models.
    parameters
        Lists of values by parameter.
    arguments
        All arguments of `gridsearch`.
    """

    def __init__(
        self,
        cls: "type[LSTMSeqModel]",
        parameters: Mapping[str, Sequence[Any]],
        arguments: Mapping[str, Any],
    ) -> None:
        self._cls, self._arguments = cls, arguments
        self._combinations = [
            dict(zip(parameters, values, strict=True)) for values in product(*parameters.values())
        ]
        self._models: Iterator[LSTMSeqModel] | None = None

    def _sample_params(self, combinations: list[Any], n_random_samples: int | float) -> list[Any]:
        """Draw some of the combinations, as Darts does."""
        drawn = self._cls._sample_params(combinations, n_random_samples)
        names = list(self._combinations[0])
        self._combinations = [dict(zip(names, values, strict=True)) for values in drawn]
        return drawn

    def __call__(self, **parameters: Any) -> "LSTMSeqModel":
        """Return the model of the next combination, whose folds are trained already."""
        if self._models is None:
            self._models = self._make_models()
        model = next(self._models, None)
        # the last call is for the model to be returned
        return self._cls(**parameters) if model is None else model

    def _make_models(self) -> Iterator["LSTMSeqModel"]:
        waiting: list[tuple[LSTMSeqModel, FoldRecorder | None]] = []
        n_prepared = 0
        for number, parameters in enumerate(self._combinations, start=1):
            waiting.append(self._record(parameters))
            recorder = waiting[-1][1]
            n_prepared += 0 if recorder is None else len(recorder.prepared)
            if n_prepared < _MAX_PREPARED and number < len(self._combinations):
                continue
            prepared = [p for _, recorded in waiting if recorded for p in recorded.prepared]
            train_stacks(prepared, self._cls.folds_per_stack, bool(self._arguments["verbose"]))
            for model, recorded in waiting:
                if recorded is not None:
                    replayer = FoldReplayer([fitted for fitted, _ in recorded.prepared])
                    model.backtest_hooks = replayer
                yield model
            waiting.clear()
            n_prepared = 0

    def _record(self, parameters: dict[str, Any]) -> "tuple[LSTMSeqModel, FoldRecorder | None]":
        """Return a model and its recorded backtest, or `None` if Darts must train or refuse it."""
        model = self._cls(**parameters)
        if unsupported_reason(model, self._arguments["fit_kwargs"]) is not None:
            return model, None
        recorder = FoldRecorder()
        model.backtest_hooks = recorder
        given = {name: self._arguments[name] for name in _BACKTEST}
        try:
            with quiet_logging():
                model.historical_forecasts(**given, show_warnings=False)
        except Exception:  # Darts' own message comes when it is this model's turn
            return self._cls(**parameters), None
        model.backtest_hooks = None
        return model, recorder


def can_stack(arguments: Mapping[str, Any]) -> bool:
    """Tell whether the configurations of a grid search, given all arguments, may train together."""
    parameters = arguments["parameters"]
    is_backtest = arguments["forecast_horizon"] is not None and arguments["val_series"] is None
    return (
        is_backtest
        and not arguments["use_fitted_values"]
        and arguments["n_jobs"] == 1
        and isinstance(parameters, dict)
        and "model_name" not in parameters  # Darts changes it
        # otherwise Darts has an error
        and all(isinstance(values, list | np.ndarray) for values in parameters.values())
        and all(len(values) for values in parameters.values())
    )
