"""One model for each series: its folds on several series, and their scores.

The networks of all folds of several series are trained as one stack (`model/stacking.py`); other
models are fitted fold by fold. A series that cannot be evaluated has an error and does not stop the
others. One network for all series is in `global_fit.py`.

Source: the loop of Darts' `historical_forecasts(retrain=True)`, written out with public methods so
that fitting and predicting are timed separately.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from darts.models.forecasting.conformal_models import ConformalModel
from darts.models.forecasting.forecasting_model import ForecastingModel

from darts_lstm_seq.comparison.inputs import Inputs
from darts_lstm_seq.comparison.preparation import filled, prepare
from darts_lstm_seq.comparison.quantiles import Forecast, predict_quantiles
from darts_lstm_seq.comparison.scoring import LEVELS, Result, check_series, fold_ends, score
from darts_lstm_seq.comparison.time_limit import time_limit
from darts_lstm_seq.model.lstm_seq_model import LSTMSeqModel
from darts_lstm_seq.model.stacking import fit_in_stacks

if TYPE_CHECKING:
    from darts_lstm_seq.comparison.evaluation import Evaluation

OVER_LIMIT = "TimeoutError: over the time limit"


def evaluate_locally(
    evaluation: "Evaluation",
    name: str,
    inputs: Mapping[str, Inputs],
    seconds: float | None,
    on_fold: Callable[[], Any],
) -> dict[str, Result]:
    """Return the scores, or the error, and the forecasts of each series.

    Parameters
    ----------
    evaluation
        The settings.
    name
        The name of the model.
    inputs
        The series by their keys.
    seconds
        The time limit of all series together.
    on_fold
        Called after each fold of each series.
    """
    end = None if seconds is None else perf_counter() + seconds
    found: dict[str, Result] = {}
    waiting: dict[str, _Folds] = {}

    def finish() -> None:
        if waiting:
            _fit_together(waiting, end)
        for key, folds in waiting.items():
            result = folds.error or within_limit(partial(folds.evaluate, on_fold), end)
            found[key] = ({"error": result}, None) if isinstance(result, str) else result
        waiting.clear()

    for key, given in inputs.items():
        made = within_limit(partial(_Folds, evaluation, name, given), end)
        if isinstance(made, str):
            found[key] = {"error": made}, None
            continue
        waiting[key] = made
        if sum(len(folds.parts) for folds in waiting.values()) >= made.stack_size:
            finish()
    finish()
    return {key: found[key] for key in inputs}


class _Folds:
    """The folds of a model on one series."""

    def __init__(self, evaluation: "Evaluation", name: str, inputs: Inputs) -> None:
        horizon, folds = evaluation.horizon, evaluation.folds
        self._evaluation, self._name, self._inputs = evaluation, name, inputs
        series = inputs.series
        check_series(series, horizon, folds)
        train_length = len(series) - folds * horizon
        self._season = evaluation.season(series, train_length)
        start = perf_counter()
        self._own = evaluation.make_model(name, self._season, train_length, inputs)
        self.fit_seconds = perf_counter() - start  # tuning
        self.error: str | None = None
        self._model, usable = prepare(self._own, inputs)
        self.covariates = {
            name: filled(self._own, value) for name, value in usable.covariates.items()
        }
        ends = fold_ends(usable.series, horizon, folds)
        self.parts = [filled(self._own, usable.series[:end]) for end in ends]
        self.networks: list[LSTMSeqModel] = []
        if isinstance(self._model, LSTMSeqModel):
            self.networks = [self._model.untrained_model() for _ in self.parts]

    @property
    def stack_size(self) -> int:
        """Number of networks to train together; other models are fitted at once."""
        return self.networks[0].folds_per_stack if self.networks else 0

    def evaluate(self, on_fold: Callable[[], Any]) -> Result:
        """Return the scores and the forecasts; networks are fitted already."""
        forecasts: list[Forecast] = []
        predict_seconds = 0.0
        fitted_models = self._fitted()
        lists = {name: [value] for name, value in self.covariates.items()}
        for part in self.parts:
            start = perf_counter()
            fitted = next(fitted_models)
            middle = perf_counter()
            horizon = self._evaluation.horizon
            forecasts += predict_quantiles(fitted, horizon, LEVELS, [part], **lists)
            predict_seconds += perf_counter() - middle
            self.fit_seconds += middle - start
            on_fold()
        scores, frame = score(self._inputs.series, forecasts, self._season)
        seconds = {"fit_seconds": self.fit_seconds, "predict_seconds": predict_seconds}
        used = self._evaluation.used_covariates(self._name, self._own, self._inputs)
        row = {"seasonality": self._season, **scores, **seconds, "covariates": used}
        return row, frame

    def _fitted(self) -> Iterator[ForecastingModel]:
        if self.networks:
            yield from self.networks
        elif isinstance(self._model, ConformalModel):  # calibrates a model that is fitted already
            yield from [self._model] * len(self.parts)
        else:
            for part in self.parts:
                yield self._model.untrained_model().fit(part, **self.covariates)


def _fit_together(waiting: Mapping[str, _Folds], end: float | None) -> None:
    """Fit the networks of all series; note the errors, and for each its share of the time."""
    owners = [folds for folds in waiting.values() for _ in folds.networks]
    networks = [network for folds in waiting.values() for network in folds.networks]
    arguments = [
        {"series": part, **folds.covariates}
        for folds in waiting.values()
        if folds.networks
        for part in folds.parts
    ]

    def fit() -> None:
        for stack in fit_in_stacks(networks, arguments):
            for index, error in stack.items():
                if error is not None:
                    owners[index].error = f"{type(error).__name__}: {error}"

    start = perf_counter()
    over = within_limit(fit, end)
    for folds in owners:
        folds.fit_seconds += (perf_counter() - start) / len(owners)
        if over is not None:
            folds.error = over


def within_limit(run: Callable[[], Any], end: float | None) -> Any:
    """Return what a call returns, or its error as text.

    Parameters
    ----------
    run
        The call.
    end
        When it must have ended, as `perf_counter` counts.
    """
    seconds = None if end is None else end - perf_counter()
    try:
        if seconds is not None and seconds <= 0:
            return f"{OVER_LIMIT}, not started"
        with time_limit(seconds):
            return run()
    except TimeoutError:
        return OVER_LIMIT
    except Exception as error:
        return f"{type(error).__name__}: {error}"
