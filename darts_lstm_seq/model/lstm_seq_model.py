"""`LSTMSeqModel`, the model a user makes: its parameters, their documentation, and Darts' hooks.

What the hooks do is in the files of this folder: automatic choices in `defaults.py`, checks in
`validation.py`, prediction, persistence and backtests in files by these names. The network and the
steps around it are in `nn` and `training`; windows, metrics and file formats are Darts'.

Source: `darts.models.BlockRNNModel`, whose parameters have the same names here where they mean the
same.
"""

import copyreg
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial, wraps
from typing import Any, Self, TypeVar, cast

import numpy as np
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.logging import get_logger, raise_log
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.models.forecasting.torch_forecasting_model import (
    MixedCovariatesTorchModel,
    TorchForecastingModel,
)
from darts.typing import TimeSeriesLike
from darts.utils.data import (
    SequentialTorchInferenceDataset,
    ShiftedTorchTrainingDataset,
    TorchInferenceDataset,
    TorchTrainingDataset,
)
from darts.utils.data.torch_datasets.dataset import TorchDataset
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.likelihood_models.base import LikelihoodType
from darts.utils.likelihood_models.torch import TorchLikelihood
from darts.utils.serialization import add_safe_globals
from darts.utils.utils import ModelMode, SeasonalityMode, TrendMode
from torch import nn
from torch.utils.data import DistributedSampler
from typing_extensions import override

from darts_lstm_seq.batching.batches import collate, draw_batch
from darts_lstm_seq.batching.datasets import (
    BatchInferenceDataset,
    BatchTrainingDataset,
    ValidationSeries,
)
from darts_lstm_seq.batching.sampler import CompactDataModule
from darts_lstm_seq.compat import TorchDataModule, parse_input_chunk_length, runs_folder
from darts_lstm_seq.files import check_archive
from darts_lstm_seq.model import (
    backtest,
    defaults,
    forecasts,
    gridsearch,
    persistence,
    pretrained,
    pretrained_networks,
    validation,
)
from darts_lstm_seq.model.prediction import DirectPredictor, prediction_copy, with_optional_seeding
from darts_lstm_seq.model.recording import BacktestHooks
from darts_lstm_seq.model.stacking import CannotStackError, DeferredTrainer
from darts_lstm_seq.parallel import process_lock
from darts_lstm_seq.training.epoch_loop import EpochLoop
from darts_lstm_seq.training.module import LSTMSeqModule
from darts_lstm_seq.training.prepared import Training

logger = get_logger(__name__)

Method = TypeVar("Method", bound=Callable[..., Any])

# types that Darts would not check before `fit`
_TYPES: dict[str, tuple[type, str]] = {
    "shared_weights": (bool, "a boolean"),
    "nonnegative": (bool, "a boolean"),
    "use_static_covariates": (bool, "a boolean"),
    "likelihood": (TorchLikelihood, "a likelihood out of `darts.utils.likelihood_models.torch`"),
    "loss_fn": (nn.Module, "a loss such as `torch.nn.MSELoss()`"),
    "optimizer_kwargs": (dict, "a dictionary"),
    "lr_scheduler_kwargs": (dict, "a dictionary"),
    "pl_trainer_kwargs": (dict, "a dictionary"),
}
# a subclass that overrides one of these trains in its own way
_TRAINING_METHODS = ("fit", "fit_from_dataset", "_create_model")
# number of training samples from which scales, levels and the skip are initialized
_MAX_INITIAL_SAMPLES = 512
# of long windows as many as have this number of steps together, but at least so many that they
# hold each label of a training in the low-data regime twice
_MAX_INITIAL_STEPS, _MIN_INITIAL_SAMPLES = 512 * 1024, 2 * defaults.LOW_DATA_LONG_WINDOWS_PER_STEP

# signatures by which positional arguments get their names
_FIT = inspect.signature(MixedCovariatesTorchModel.fit)
_GRIDSEARCH = inspect.signature(MixedCovariatesTorchModel.gridsearch.__func__)
_PREDICT = inspect.signature(MixedCovariatesTorchModel.predict)
_PREDICT_FROM_DATASET = inspect.signature(MixedCovariatesTorchModel.predict_from_dataset)


def _documented_as(original: Callable[..., Any]) -> Callable[[Method], Method]:
    """Return `functools.wraps(original)`, typed so that the method keeps its own signature."""
    return cast("Callable[[Method], Method]", wraps(original))


class LSTMSeqModel(persistence.PicklableModel, MixedCovariatesTorchModel):
    """LSTM for sequences: the last hidden state of the window predicts the whole output chunk.

    The network of the well-known tutorial (windows -> ``nn.LSTM`` -> last time step ->
    ``nn.Linear``) as a Darts model. Unlike in ``BlockRNNModel``, all output steps are predicted
    from the hidden state after the newest observation. Works on raw, unscaled data: each input
    window is normalised by its own mean and standard deviation, and a linear seasonal skip
    connection leads from the window to the forecast, so that the LSTM learns the residual. Missing
    values (NaN) in the target and in past covariates are masked in the input window and left out of
    the loss.

    The model supports past covariates (known for the ``input_chunk_length`` steps before
    prediction time), future covariates (known for the ``output_chunk_length`` steps after it
    and ``input_chunk_length`` steps before it), and static covariates.

    Parameters
    ----------
    input_chunk_length
        Number of time steps in the past to take as a model input (per chunk). Applies to the
        target series and to past and future covariates. A tuple ``(min, max)`` lets the model
        train on and predict from series that are shorter than ``max``, down to ``min``: steps that
        are missing at the start of the window are masked.
    output_chunk_length
        Number of time steps predicted at once (per chunk). A forecast horizon ``n`` beyond it
        is reached by feeding forecasts back as inputs.
    output_chunk_shift
        Number of time steps between the end of the input chunk and the start of the output
        chunk.
    hidden_dim
        Size of the hidden state of each LSTM layer.
    n_rnn_layers
        Number of LSTM layers.
    patch_length
        Number of consecutive input steps that enter the LSTM as one; ``1`` is the tutorial.
        If ``input_chunk_length`` is no multiple of it, the oldest step is repeated until it is.
        Automatic (``None``): the largest divisor of ``input_chunk_length`` that is at most 1.5
        times its square root, such as 6 for 24 steps and 24 for 336; of windows above 1,024
        steps without such a divisor near the square root, the square root.
    dropout
        Fraction of the hidden units dropped between LSTM layers and before the linear layer.
        Automatic (``None``): 0.9 in the low-data regime without past or future covariates, 0.5
        otherwise. Low data are at most 30 training windows per forecast step, or 60 if windows have
        more than 48 steps.
    n_members
        Number of networks with different initial weights, trained together as an ensemble, whose
        forecasts are averaged. The error is at most the mean error of the members and varies less
        with the seed; 10 members take about twice the time of one. With ``num_samples`` above 1
        (and no likelihood) ``predict()`` returns the members' forecasts as samples. These say how
        much the forecast depends on the seed. They are no prediction interval, as they leave out
        the noise of the series: for intervals choose a ``likelihood``, or Darts'
        ``ConformalNaiveModel``.
    shared_weights
        Whether to forecast each component of a multivariate target on its own, with one network
        for all components.
    use_static_covariates
        Whether the model should use static covariate information in case the input `series`
        passed to ``fit()`` contain static covariates. If ``True``, and static covariates are
        available at fitting time, will enforce that all target `series` have the same static
        covariate dimensionality in ``fit()`` and ``predict()``.
    n_epochs
        Number of epochs to train. Automatic (``None``): as many as give one optimiser step per
        training window, within 200 to 1000 steps, and at least four epochs. With past or future
        covariates at least ``16000 / input_chunk_length`` steps, within the same bounds.
    use_reversible_instance_norm
        Whether to normalise each target window by the mean and standard deviation of its input
        chunk before the network, and to invert this for forecasts, as the likelihood requires. The
        loss is computed in normalised space, so that series of different scale have equal weight;
        covariates are standardised by the training data. With ``True``, shifting or scaling the
        input shifts or scales the forecast. The default ``None`` differs in two cases: if the
        training data are stationary in level, windows near that level are scaled by the training
        mean and standard deviation, which are less noisy than estimates from a short window; and
        windows too short or too flat to predict the size of what follows share one standard
        deviation. With either, constant windows forecast their constant, unless past or future
        covariates are given: then they too are scaled by the training data. A dictionary can set
        ``{"affine": bool, "eps": float}``. ``False`` gives the plain tutorial:
        automatic choices are those of the tutorial (no patches, no dropout, 100 epochs, MSE, a
        constant learning rate), and there is no skip connection.
    pretrained_season
        Season of the pre-trained network to start from, see ``from_pretrained()``, which sets this
        parameter and the sizes of the network. By default (``None``) weights are drawn at random.
    nonnegative
        Whether to replace forecasts below zero by zero, samples and quantiles too, for targets that
        cannot be negative. Training is not affected, nor are parameters of other likelihoods than
        quantiles, nor ONNX graphs. A likelihood of counts or of positive values never goes below
        zero and describes them better; point forecasts and quantiles need this.
    **kwargs
        Further parameters of Darts' ``TorchForecastingModel`` (``batch_size``, ``random_state``,
        ``pl_trainer_kwargs``, ``add_encoders``, ...) and ``PLForecastingModule`` (``loss_fn``,
        ``likelihood``, ``optimizer_cls``, ...), which document them. Some defaults differ: the
        network computes in single precision whatever the dtype of the series, unless
        ``pl_trainer_kwargs={"precision": ...}`` says otherwise; forecasts keep the dtype of the
        series; the default ``loss_fn`` is the Huber loss, which is less sensitive to outliers; and
        without an ``lr_scheduler_cls`` the learning rate decays to zero along a cosine. In the
        low-data regime the LSTM's learning rate is multiplied by
        ``min(1, 12 / input_chunk_length)``. ``model="LSTM"`` of a script for ``BlockRNNModel`` is
        accepted.

    Attributes
    ----------
    folds_per_stack
        Maximal number of networks that a retrained backtest trains together (32).

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    ``historical_forecasts(retrain=True)``, and what is built on it, prepares the trainings of all
    folds first and runs them together where the settings allow; ``enable_optimization=False``
    trains fold by fold. The loop over folds runs twice, so data transformers are fitted twice; a
    callable ``retrain`` is called once per fold.

    Darts' ``lr_find()`` has little to suggest: the initial skip connection explains most of the
    loss, so the curve is flat, and its suggestion too small by orders of magnitude. Try
    ``optimizer_kwargs={"lr": ...}`` from 1e-3 (the default) to 1e-2 on a validation set instead.

    Several threads may call ``predict()`` on one model. Predictions that draw random numbers, and
    fits, are serialised within a process.

    Examples
    --------
    >>> from darts.utils.timeseries_generation import sine_timeseries
    >>> from darts_lstm_seq import LSTMSeqModel
    >>> series = sine_timeseries(length=120, value_frequency=1 / 12)
    >>> model = LSTMSeqModel(
    ...     input_chunk_length=24,
    ...     output_chunk_length=12,
    ...     n_epochs=20,
    ...     random_state=42,
    ...     pl_trainer_kwargs={"enable_progress_bar": False},
    ... )
    >>> forecast = model.fit(series).predict(12)
    >>> len(forecast), forecast.start_time() > series.end_time()
    (12, True)
    """

    trainer: pl.Trainer | None
    # maximal number of networks that a retrained backtest trains together: more need more memory
    # and gain nothing (`benchmarks/bench_backtest.py`)
    folds_per_stack: int = 32
    # set by `backtest.py` while a retrained backtest runs: records and replays its folds
    backtest_hooks: BacktestHooks | None = None

    def __init__(
        self,
        input_chunk_length: int | tuple[int, int],
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        hidden_dim: int = 64,
        n_rnn_layers: int = 1,
        patch_length: int | None = None,
        dropout: float | None = None,
        n_members: int = 1,
        shared_weights: bool = False,
        use_static_covariates: bool = True,
        n_epochs: int | None = None,
        use_reversible_instance_norm: bool | dict[str, Any] | None = None,
        pretrained_season: int | str | None = None,
        nonnegative: bool = False,
        **kwargs: Any,
    ) -> None:
        # NumPy scalars, as a search over `np.arange` passes them, would be refused by safe loading
        self.model_params.update(
            {k: v.item() for k, v in self.model_params.items() if isinstance(v, np.generic)}
        )
        # `model_params` alone would lack parameters that a subclass leaves to our defaults
        named = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        params = {**named, **kwargs, **self.model_params}
        for name in validation.check_block_rnn_parameters(params):
            del params[name]
            self.model_params.pop(name, None)
        self._min_input_chunk_length, params["input_chunk_length"] = parse_input_chunk_length(
            params["input_chunk_length"]
        )
        _check_parameters(params)
        # a parameter the user left out may also come as `None` from a subclass
        self._use_training_level = params["use_reversible_instance_norm"] is None
        self._is_tutorial = (
            not params["use_reversible_instance_norm"] and not self._use_training_level
        )
        params = defaults.fill_in(params, self._is_tutorial)
        with process_lock:  # Darts seeds PyTorch, and restores its random state, for all threads
            super().__init__(**self._extract_torch_model_params(**params))
        self.pl_module_params = self._extract_pl_module_params(**params)
        # Darts would compute in the dtype of the series, which pandas makes float64: several times
        # slower. The module normalises in that dtype and casts, so nothing is lost.
        self.trainer_params.setdefault("precision", "32-true")

        self.hidden_dim = int(hidden_dim)
        self.n_rnn_layers = int(n_rnn_layers)
        self.patch_length = int(params["patch_length"])
        self.dropout = None if params["dropout"] is None else float(params["dropout"])
        self._n_windows: int | None = None  # of the first training; weights may be loaded without
        self.n_members = int(params["n_members"])
        self.shared_weights = shared_weights
        self.nonnegative = bool(params["nonnegative"])
        if self.n_epochs is None:
            # without it Lightning warns about a trainer that only predicts
            self.trainer_params["max_epochs"] = 1
        self._mask_inputs = self._min_input_chunk_length < params["input_chunk_length"]
        self._considers_static_covariates = use_static_covariates
        self.pretrained_season = pretrained_season

    @classmethod
    def from_pretrained(cls, season: int | None = None, **kwargs: Any) -> Self:
        """Return a model with pre-trained weights, which forecasts without `fit`.

        The weights come with the package. They were trained on synthetic series alone; which, and
        how accurate the forecasts are, says ``pretraining/MODEL_CARD.md``.

        ``predict(n, series=...)`` and ``historical_forecasts(series, retrain=False)`` forecast any
        series: on their raw values, with missing values, in any number of components (each on its
        own), as short as five or so steps. ``fit()`` goes on from the pre-trained weights. A point
        forecast is the median; ``num_samples`` draws samples, for intervals.

        Parameters
        ----------
        season
            Season of the network in time steps: one of 1 (none), 4, 7, 12, 24 and 52. By default
            (``None``) each series gets the one of its frequency, or, without dates, the one that
            its values show; ``fit()`` then chooses for good.
        **kwargs
            Parameters of ``LSTMSeqModel`` that concern training and prediction, such as
            ``n_epochs``, ``optimizer_kwargs``, ``batch_size``, ``random_state`` or
            ``pl_trainer_kwargs``. Without covariates the automatic ``n_epochs`` give ten steps, at
            least four epochs, at a learning rate of 3e-4; the ``batch_size`` is 128 and static
            covariates are not used. With ``n_epochs=0``, ``fit()`` trains nothing.

        Returns
        -------
        LSTMSeqModel
            A fitted model, in the sense of Darts.

        Raises
        ------
        ValueError
            If there is no network for ``season``, if a parameter would change the network, or if
            the weights are missing or damaged.

        Notes
        -----
        Forecasts beyond the ``output_chunk_length`` of the network (8 to 48 steps) feed the median,
        or samples, back as input; a warning says that they were not measured. Covariates need
        ``fit()``: their weights start at zero, and all weights are trained as long and as fast as
        those of a new model. Without covariates and sample weights, the output chunks of the newest
        training windows go beyond the end of their series; steps that are known count. If a fit
        makes the forecasts of the last horizon of the training series worse, the weights it started
        from are kept.

        Ensembles and conformal models of Darts take the model as any other: unfitted where they fit
        it, and after ``fit()``, if only with ``n_epochs=0``, where they do not.

        Examples
        --------
        >>> from darts_lstm_seq import LSTMSeqModel, data
        >>> series = data.co2_monthly()
        >>> model = LSTMSeqModel.from_pretrained()
        >>> forecast = model.predict(12, series=series[:-12])
        >>> len(forecast), forecast.time_index.equals(series[-12:].time_index)
        (12, True)
        """
        return pretrained.make(cls, season, kwargs)

    def load_pretrained_network(self, width: int, dtype: Any) -> None:
        """Make this model a fitted one, whose network has its pre-trained weights.

        Parameters
        ----------
        width
            Number of components of the series to forecast.
        dtype
            Their data type.
        """
        self.train_sample = TorchTrainingSample(
            past_target=np.zeros((self.input_chunk_length, width), dtype),
            past_covariates=None,
            historic_future_covariates=None,
            future_covariates=None,
            static_covariates=None,
            sample_weight=None,
            future_target=np.zeros((self.output_chunk_length, width), dtype),
        )
        self.output_dim = width
        with persistence.isolated_random_state():  # initial weights are drawn, to be replaced
            self.model = self._init_model()
        assert self.pretrained_season is not None
        pretrained_networks.load_weights(self.model, self.pretrained_season)
        self._update_covariates_use()
        self._fit_called = True

    @property
    def is_zero_shot(self) -> bool:
        """Whether forecasts are those of the pre-trained networks, which no ``fit()`` changed."""
        return self.pretrained_season is not None and self.model is None

    @property
    @override
    def supports_static_covariates(self) -> bool:
        return True

    @property
    @override
    def min_input_chunk_length(self) -> int:
        return self._min_input_chunk_length

    @override
    @_documented_as(MixedCovariatesTorchModel.fit)
    def fit(self, series: TimeSeriesLike, *args: Any, **kwargs: Any) -> Self:
        validation.check_series_given(series)
        # a fit that fails, or is interrupted, must not cost the user the model that was there
        with process_lock, persistence.rollback_on_error(self):
            if self.is_zero_shot:
                if self.n_epochs == 0 and not self.add_encoders and _is_plain_fit(args, kwargs):
                    return pretrained.keep_weights(self, series)
                pretrained.choose_for_fit(self, series)
            return super().fit(series, *args, **kwargs)

    @override
    @_documented_as(MixedCovariatesTorchModel.predict)
    def predict(
        self, n: int, series: TimeSeriesLike | None = None, *args: Any, **kwargs: Any
    ) -> TimeSeriesLike:
        validation.check_parameters({"n": n}, at_least={"n": 1}, below_one=())
        if series is not None:
            validation.check_series_given(series)
        arguments = _PREDICT.bind(self, n, series, *args, **kwargs).arguments
        if self.is_zero_shot:
            return pretrained.predict(self, arguments)
        return self.predict_with_own_network(arguments)

    def predict_with_own_network(self, arguments: dict[str, Any]) -> TimeSeriesLike:
        """Predict whatever the season of the series, given the arguments of `predict` by name."""
        predict = with_optional_seeding(
            MixedCovariatesTorchModel.predict, self._draws_random_numbers(arguments)
        )
        return predict(**arguments)

    def _draws_random_numbers(self, arguments: Mapping[str, Any]) -> bool:
        is_sampled = self.likelihood is not None and (
            self.pretrained_season is None or arguments.get("num_samples", 1) > 1
        )
        return is_sampled or bool(arguments.get("mc_dropout"))

    @override
    @_documented_as(MixedCovariatesTorchModel.fit_from_dataset)
    def fit_from_dataset(self, *args: Any, **kwargs: Any) -> Self:
        pretrained.check_is_chosen(self)
        with process_lock, persistence.rollback_on_error(self):
            return super().fit_from_dataset(*args, **kwargs)

    def prepare_training(self, series: TimeSeriesLike, *args: Any, **kwargs: Any) -> Training:
        """Prepare what `fit` trains on, without training.

        The model is not a fitted one until `finish_training` is called.

        Parameters
        ----------
        series, *args, **kwargs
            As for `fit`.

        Returns
        -------
        Training
            The module, its training windows in their order, and the number of epochs, drawn in the
            random state in which `fit` would train.

        Raises
        ------
        CannotStackError
            If the training cannot be part of a stack; the model is as it was.
        """
        network, lightning = self.model, self.trainer
        epochs = kwargs.get("epochs") or 0
        trainer = DeferredTrainer(
            self.trainer_params.get("precision"),
            self.batch_size,
            lambda n_windows: self._choose_epochs(n_windows, epochs),
        )
        LSTMSeqModel.fit(self, series, *args, trainer=trainer, **kwargs)
        self.model, self.trainer, self._fit_called = network, lightning, network is not None
        if trainer.training is None:
            raise CannotStackError("`fit` trains nothing")
        return trainer.training

    def take_module(self, training: Training) -> None:
        """Take over the module of a prepared training, which may still be run."""
        self.model, self._fit_called = training.module, True

    def finish_training(self, training: Training) -> None:
        """Take over a prepared training that was run elsewhere; the model is fitted then."""
        self.take_module(training)
        training.module.on_fit_end()  # Darts' hook: sample weights kept the loss from reducing

    @classmethod
    def overridden_training_methods(cls) -> list[str]:
        """Return what a subclass overrides of the methods that train."""
        return [
            name
            for name in _TRAINING_METHODS
            if getattr(cls, name) is not getattr(LSTMSeqModel, name)
        ]

    @override
    @_documented_as(MixedCovariatesTorchModel.historical_forecasts)
    def historical_forecasts(self, series: TimeSeriesLike, *args: Any, **kwargs: Any) -> Any:
        loop = super().historical_forecasts
        bound = inspect.signature(loop).bind(series, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        if self.backtest_hooks is not None:  # a grid search trains the folds
            return loop(**arguments)
        if self.is_zero_shot:
            return pretrained.historical_forecasts(self, arguments)
        return backtest.historical_forecasts(self, loop, arguments)

    @classmethod
    @override
    @_documented_as(MixedCovariatesTorchModel.gridsearch)
    def gridsearch(
        model_class,  # noqa: N804, as Darts calls it
        parameters: dict,
        series: TimeSeries,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Any, dict[str, Any], float]:
        bound = _GRIDSEARCH.bind(model_class, parameters, series, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        owner = arguments.pop("model_class")
        if gridsearch.can_stack(arguments):
            owner = gridsearch.GridModels(owner, parameters, arguments)
        return MixedCovariatesTorchModel.gridsearch.__func__(owner, **arguments)

    @override
    def untrained_model(self) -> Self:
        if self.backtest_hooks is None:
            return super().untrained_model()
        return cast("Self", self.backtest_hooks.untrained_model(super().untrained_model))

    @override
    def _fit_wrapper(
        self,
        series: TimeSeriesLike,
        past_covariates: TimeSeriesLike | None = None,
        future_covariates: TimeSeriesLike | None = None,
        sample_weight: TimeSeriesLike | None = None,
        val_series: TimeSeriesLike | None = None,
        **kwargs: Any,
    ) -> Any:
        arguments = {
            "series": series,
            "past_covariates": past_covariates,
            "future_covariates": future_covariates,
            "sample_weight": sample_weight,
            "val_series": val_series,
            **kwargs,
        }
        if self.backtest_hooks is None:
            return super()._fit_wrapper(**arguments)
        return self.backtest_hooks.fit(self, arguments)

    @override
    def _predict_wrapper(
        self,
        n: int,
        series: TimeSeries | None = None,
        past_covariates: TimeSeries | None = None,
        future_covariates: TimeSeries | None = None,
        predict_likelihood_parameters: bool = False,
        random_state: int | None = None,
        **kwargs: Any,
    ) -> TimeSeriesLike:
        arguments = {
            "n": n,
            "series": series,
            "past_covariates": past_covariates,
            "future_covariates": future_covariates,
            "predict_likelihood_parameters": predict_likelihood_parameters,
            "random_state": random_state,
            **kwargs,
        }
        predict = partial(super()._predict_wrapper, **arguments)
        if self.backtest_hooks is None:
            return predict()
        return self.backtest_hooks.predict(self, predict, arguments)

    def encode(
        self,
        series: TimeSeriesLike,
        past_covariates: TimeSeriesLike | None = None,
        future_covariates: TimeSeriesLike | None = None,
    ) -> np.ndarray:
        """Return the last hidden state for the end of each series, as features for other models.

        Parameters
        ----------
        series
            One series or a sequence of series, each at least ``input_chunk_length`` long.
        past_covariates, future_covariates
            As in ``predict(n=1)``.

        Returns
        -------
        np.ndarray
            ``(n_series, hidden_dim)``; with ``n_members`` or, under ``shared_weights``, several
            components, ``hidden_dim`` times their number.

        Raises
        ------
        ValueError
            If the model is not fitted or the series do not match it.

        Examples
        --------
        >>> from darts.utils.timeseries_generation import sine_timeseries
        >>> from darts_lstm_seq import LSTMSeqModel
        >>> series = sine_timeseries(length=60, value_frequency=1 / 12)
        >>> model = LSTMSeqModel(
        ...     12,
        ...     3,
        ...     hidden_dim=8,
        ...     n_epochs=1,
        ...     pl_trainer_kwargs={"enable_progress_bar": False},
        ... )
        >>> model.fit(series).encode([series, series[:-6]]).shape
        (2, 8)
        """
        if self.is_zero_shot:
            return pretrained.encode(self, series)
        params = self._setup_for_predict_from_dataset(
            n=1,
            series=series,
            past_covariates=past_covariates,
            future_covariates=future_covariates,
        )
        predictor = DirectPredictor(torch.device("cpu"), show_progress=False)
        params |= {"trainer": predictor, "dataloader_kwargs": _own_random_state()}
        setup = prediction_copy(self)._setup_for_predict(**params)
        # members are made anew, and their initial weights drawn
        is_drawn = self.n_members > 1
        with persistence.isolated_random_state() if is_drawn else nullcontext():
            return predictor.encode(setup["model"], setup["datamodule"]).numpy()

    @override
    def _create_model(self, train_sample: TorchTrainingSample) -> LSTMSeqModule:
        low_data = self._is_low_data(train_sample)
        if self.dropout is None:
            self.dropout = defaults.dropout(low_data)
        params = dict(self.pl_module_params)
        given = {name for name in ("optimizer_cls", "optimizer_kwargs") if params.get(name)}
        if self.pretrained_season is not None and not given and not _has_covariates(train_sample):
            params["optimizer_kwargs"] = {"lr": defaults.FINE_TUNING_LR}
        return LSTMSeqModule(
            hidden_dim=self.hidden_dim,
            n_rnn_layers=self.n_rnn_layers,
            patch_length=self.patch_length,
            dropout=self.dropout,
            n_members=self.n_members,
            shared_weights=self.shared_weights,
            mask_inputs=self._mask_inputs,
            use_training_level=self._use_training_level,
            anneal_lr=not self._is_tutorial,
            low_data=low_data,
            predict_median=self.pretrained_season is not None,
            lr_multiplier=defaults.lr_multiplier(low_data, self.input_chunk_length),
            nonnegative=self.nonnegative,
            **params,
        )

    @override
    def _process_validation_set(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        val_series: Sequence[TimeSeries] | None,
        val_past_covariates: Sequence[TimeSeries] | None,
        val_future_covariates: Sequence[TimeSeries] | None,
    ) -> Any:
        val_series, *covariates = super()._process_validation_set(
            series,
            past_covariates,
            future_covariates,
            val_series,
            val_past_covariates,
            val_future_covariates,
        )
        return None if val_series is None else ValidationSeries(val_series), *covariates

    @override
    def _build_train_dataset(
        self,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        sample_weight: Sequence[TimeSeries] | str | None,
        max_samples_per_ts: int | None,
        stride: int = 1,
    ) -> TorchTrainingDataset:
        n_unknown, n_input = 0, self.min_input_chunk_length + self.output_chunk_shift
        is_plain = not (past_covariates or future_covariates or sample_weight or max_samples_per_ts)
        is_training = not isinstance(series, ValidationSeries)
        if self.pretrained_season is not None and is_plain and is_training and stride == 1:
            # the labels of the newest windows, which matter most, are known in part
            n_unknown = self.output_chunk_length - 1
            series = pretrained.extend(series, n_unknown, self.min_input_chunk_length + 1)
        else:
            others = (
                "lower `output_chunk_length` or `input_chunk_length`, of which (min, max) takes "
                "short series beside long ones"
                if self.pretrained_season is None
                else f"fit without covariates, encoders, weights, `stride` and "
                f"`max_samples_per_ts`: then {n_input + 1} steps are enough"
            )
            repair = f"Leave it out, or {others}."
            validation.check_lengths(series, n_input, self.output_chunk_length, repair)
        dataset = BatchTrainingDataset(
            series=series,
            past_covariates=past_covariates,
            future_covariates=future_covariates,
            input_chunk_length=(self.min_input_chunk_length, self.input_chunk_length),
            output_chunk_length=self.output_chunk_length,
            output_chunk_shift=self.output_chunk_shift,
            stride=stride,
            max_samples_per_ts=max_samples_per_ts,
            use_static_covariates=self.uses_static_covariates,
            sample_weight=sample_weight,
        )
        dataset.n_unknown = n_unknown
        return dataset

    @override
    def _build_inference_dataset(
        self,
        n: int,
        series: Sequence[TimeSeries],
        past_covariates: Sequence[TimeSeries] | None,
        future_covariates: Sequence[TimeSeries] | None,
        stride: int = 0,
        bounds: np.ndarray | None = None,
    ) -> TorchInferenceDataset:
        return BatchInferenceDataset(
            series=series,
            past_covariates=past_covariates,
            future_covariates=future_covariates,
            n=n,
            stride=stride,
            bounds=bounds,
            input_chunk_length=(self.min_input_chunk_length, self.input_chunk_length),
            output_chunk_length=self.output_chunk_length,
            output_chunk_shift=self.output_chunk_shift,
            use_static_covariates=self.uses_static_covariates,
        )

    @override
    def _setup_for_train(
        self,
        train_dataset: TorchTrainingDataset,
        val_dataset: TorchTrainingDataset | None = None,
        trainer: pl.Trainer | None = None,
        verbose: bool | None = None,
        epochs: int = 0,
        dataloader_kwargs: dict[str, Any] | None = None,
        load_best: bool = False,
    ) -> dict[str, Any]:
        pretrained.check_is_chosen(self)  # `fit` chose; `lr_find` and others do not
        is_new = self.model is None
        if is_new:
            self.load_ckpt_path = None  # a network from before `reset_model` is not continued
        elif self.load_ckpt_path is not None:
            check_archive(self.load_ckpt_path)
        n_windows = len(train_dataset)
        first_label = self.min_input_chunk_length + self.output_chunk_shift
        for dataset, prefix in ((train_dataset, ""), (val_dataset, "val_")):
            if not isinstance(dataset, ShiftedTorchTrainingDataset):
                continue
            if not _is_finite(dataset):
                self._check_training_data(dataset, prefix)
                if is_new:
                    self._mask_inputs |= validation.has_missing(
                        dataset.series, dataset.past_covariates
                    )
            validation.check_support(dataset.series, self.likelihood, first_label, prefix)
        if is_new:
            self._n_windows = n_windows
        setup = super()._setup_for_train(
            train_dataset,
            val_dataset,
            trainer,
            verbose,
            self._choose_epochs(n_windows, epochs),
            _loader_kwargs(dataloader_kwargs),
            load_best,
        )
        world_size = getattr(setup["trainer"], "world_size", 1)
        if trainer is None:  # number of processes and covariates are known now
            max_epochs = self._choose_epochs(n_windows, epochs, world_size)
            setup["trainer"].fit_loop.max_epochs = max_epochs
            EpochLoop.install(setup["trainer"])
        setup["datamodule"] = CompactDataModule.like(setup["datamodule"])
        module = setup["model"]
        if is_new or module.has_noisy_dispersion:
            count = max(_MAX_INITIAL_STEPS // self.input_chunk_length, _MIN_INITIAL_SAMPLES)
            sample = draw_batch(train_dataset, _spread(range(n_windows), count))
            if self.pretrained_season is None and is_new:
                module.initialize(sample, n_windows)
            elif self.pretrained_season is not None and is_new:
                module.fit_scales(sample)
                pretrained_networks.load_weights(module, self.pretrained_season)
                is_ours = isinstance(train_dataset, BatchTrainingDataset)
                newest = train_dataset.of_last_horizon() if is_ours else [0]
                module.guard_fine_tuning(draw_batch(train_dataset, _spread(newest)))
            module.refit_dispersion(sample)
        module.reset_dropout_masks(min(self.batch_size, n_windows))
        return setup

    @override
    def _train(
        self,
        trainer: pl.Trainer,
        model: PLForecastingModule,
        datamodule: TorchDataModule,
        load_best: bool = False,
    ) -> None:
        resumes = self.load_ckpt_path is not None
        super()._train(trainer, model, datamodule, load_best)
        if resumes and "train_loss" not in trainer.callback_metrics:
            logger.warning(
                f"`fit()` trained nothing: the checkpoint has {trainer.current_epoch} epochs, and "
                f"training ends after {trainer.max_epochs}. Pass a larger `epochs` to `fit()`, or "
                f"start anew from the checkpoint's weights with `load_weights_from_checkpoint()`."
            )

    def _is_low_data(self, sample: TorchTrainingSample) -> bool:
        if self._is_tutorial or self._n_windows is None:
            return False
        # the skip connection ignores covariates, so the network must learn their effect
        if _has_covariates(sample):
            return False
        return defaults.is_low_data(
            self._n_windows, self.input_chunk_length, self.output_chunk_length
        )

    def _choose_epochs(self, n_windows: int, epochs: int = 0, world_size: int = 1) -> int:
        """Return the number of epochs: of this `fit`, of the model, or by the training windows."""
        if epochs or self.n_epochs is not None:
            return epochs or self.n_epochs
        has_covariates = self.uses_past_covariates or self.uses_future_covariates
        if self.pretrained_season is not None and not has_covariates:
            return defaults.fine_tuning_epochs(n_windows, self.batch_size * world_size)
        min_steps = defaults.min_steps(has_covariates, self.input_chunk_length)
        return defaults.n_epochs(n_windows, self.batch_size * world_size, min_steps)

    def _check_training_data(self, dataset: ShiftedTorchTrainingDataset, prefix: str) -> None:
        validation.check_values(
            dataset.series,
            dataset.past_covariates,
            dataset.future_covariates,
            self._considers_static_covariates,
            prefix=prefix,
        )
        if dataset.sample_weight is not None:
            validation.check_weights(dataset.sample_weight, prefix)
        behind = self.output_chunk_shift + self.output_chunk_length
        ends = [
            np.arange(self.min_input_chunk_length, len(series) - behind + 1)
            for series in dataset.series
        ]
        validation.check_windows(dataset.series, self.input_chunk_length, ends, prefix)
        first = self.min_input_chunk_length + self.output_chunk_shift
        validation.check_labels(dataset.series, first, prefix)

    @override
    def _setup_for_predict(
        self,
        n: int,
        dataset: TorchInferenceDataset,
        trainer: pl.Trainer | None = None,
        batch_size: int | None = None,
        verbose: bool | None = None,
        n_jobs: int = 1,
        roll_size: int | None = None,
        num_samples: int = 1,
        dataloader_kwargs: dict[str, Any] | None = None,
        mc_dropout: bool = False,
        predict_likelihood_parameters: bool = False,
        random_state: int | None = None,
        values_only: bool = False,
    ) -> dict[str, Any]:
        # no error: conformal models and ensembles ask every model that has dropout for samples
        if num_samples > 1 and self.likelihood is None and self.n_members == 1 and not mc_dropout:
            logger.warning(
                f"All {num_samples} samples are equal. To have a distribution, create the model "
                f"with a `likelihood` or `n_members`, or pass `mc_dropout=True`."
            )
        if isinstance(dataset, SequentialTorchInferenceDataset) and not _is_finite(dataset):
            self._check_inference_data(n, dataset)
        setup = super()._setup_for_predict(
            n,
            dataset,
            trainer,
            batch_size,
            verbose,
            n_jobs,
            roll_size,
            num_samples,
            # as Lightning does for predictions: every series is asked for
            {**_loader_kwargs(dataloader_kwargs, trainer), "drop_last": False},
            mc_dropout,
            predict_likelihood_parameters,
            random_state,
            values_only,
        )
        return setup | {"datamodule": CompactDataModule.like(setup["datamodule"])}

    def _check_inference_data(self, n: int, dataset: SequentialTorchInferenceDataset) -> None:
        length = self.input_chunk_length
        steps = max(n, self.output_chunk_length) + self.output_chunk_shift
        if dataset.bounds is None:
            ends = [np.array([len(series)]) for series in dataset.series]
            steps_before = length
        else:
            ends = [np.arange(low, high + 1, dataset.stride) for low, high in dataset.bounds]
            steps_before = None
        validation.check_values(
            dataset.series,
            dataset.past_covariates,
            dataset.future_covariates,
            self._considers_static_covariates,
            steps_after=steps,
            steps_before=steps_before,
        )
        validation.check_windows(dataset.series, length, ends)

    @override
    @_documented_as(MixedCovariatesTorchModel.predict_from_dataset)
    def predict_from_dataset(self, *args: Any, **kwargs: Any) -> Sequence[TimeSeries]:
        arguments = _PREDICT_FROM_DATASET.bind(self, *args, **kwargs).arguments
        view = arguments["self"] = prediction_copy(self)  # several threads may predict at once
        loader_kwargs = _own_random_state()
        direct = None
        if arguments.get("trainer") is None:
            direct = DirectPredictor.for_trainer_params(
                self.trainer_params, arguments.get("verbose")
            )
            arguments["trainer"] = direct
        draws = self._draws_random_numbers(arguments)
        if direct is not None:
            direct.reads_datasets = not arguments.get("dataloader_kwargs")
            is_single = arguments.get("num_samples", 1) == 1
            direct.merges_batches = not draws and is_single and not arguments.get("batch_size")
        if direct is None:
            # Lightning would give each of several processes a share, and Darts return it alone
            loader_kwargs["sampler"] = DistributedSampler(
                arguments["dataset"], num_replicas=1, rank=0, shuffle=False
            )
        arguments["dataloader_kwargs"] = loader_kwargs | (arguments.get("dataloader_kwargs") or {})
        predict = with_optional_seeding(MixedCovariatesTorchModel.predict_from_dataset, draws)
        predicted = predict(**arguments)
        if direct is None:
            self.trainer = view.trainer
        return predicted

    @override
    def _predict(
        self,
        trainer: pl.Trainer,
        model: PLForecastingModule,
        datamodule: TorchDataModule,
        n_jobs: int = 1,
        verbose: bool | None = None,
        values_only: bool = False,
        predict_likelihood_parameters: bool = False,
    ) -> Sequence[TimeSeries]:
        dataset = datamodule.predict_dataset
        if not (isinstance(trainer, DirectPredictor) and trainer.gathers(dataset)):
            return super()._predict(
                trainer,
                model,
                datamodule,
                n_jobs,
                verbose,
                values_only,
                predict_likelihood_parameters,
            )
        values = trainer.predict_values(model, datamodule)
        if values_only:
            return forecasts.with_schemas(dataset, values)
        names = self.likelihood.component_names if predict_likelihood_parameters else None
        return forecasts.as_series(dataset, values, names)

    @override
    def _create_save_dirs(self) -> None:
        # Darts' own fails where another process of a distributed training was faster
        os.makedirs(runs_folder(self.work_dir, self.model_name), exist_ok=True)

    @override
    def _check_ckpt_parameters(self, tfm_save: TorchForecastingModel) -> None:
        super()._check_ckpt_parameters(tfm_save)
        # depends on the training data, not on parameters: whether the network has mask inputs
        self._mask_inputs = tfm_save._mask_inputs
        self._saved_weights = tfm_save._saved_weights

    @override
    @_documented_as(MixedCovariatesTorchModel.load_weights_from_checkpoint)
    def load_weights_from_checkpoint(
        self,
        model_name: str | None = None,
        work_dir: str | None = None,
        file_name: str | None = None,
        best: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        with persistence.rollback_on_error(self), persistence.clear_load_errors():
            model_name = model_name or self.model_name
            file_name = persistence.check_checkpoint(model_name, work_dir, file_name, best)
            self.model = None  # or Darts would save it into the folder of a training to come
            with persistence.isolated_random_state():
                super().load_weights_from_checkpoint(
                    model_name, work_dir, file_name, best, *args, **kwargs
                )
            self.model = self.of_this_save(self.model)
            # training and saving continue from these weights, not from an earlier checkpoint
            self.load_ckpt_path = None

    @override
    @_documented_as(MixedCovariatesTorchModel.to_onnx)
    def to_onnx(self, path: str | None = None, **kwargs: Any) -> None:
        if self.is_zero_shot:
            pretrained.for_export(self).to_onnx(path, **kwargs)
            return
        if self.model is not None and self.train_sample is not None:
            # as for Darts' models, the graph's inputs have the dtype of the training series
            dtype = torch.as_tensor(self.train_sample.past_target[:0]).dtype
            self.model.export_dtype = dtype if dtype.is_floating_point else torch.float32
        path = os.fspath(path or f"{self._default_save_path()}.onnx")
        with persistence.isolated_random_state(), persistence.writing(path) as temporary:
            super().to_onnx(temporary, **kwargs)

    @override
    @_documented_as(MixedCovariatesTorchModel.save)
    def save(self, path: str | None = None, clean: bool = False) -> None:
        path = os.fspath(path or f"{self._default_save_path()}.pt")
        with persistence.saving(self), persistence.writing(path, [".ckpt"]) as temporary:
            super().save(temporary, clean)

    @staticmethod
    @override
    @_documented_as(MixedCovariatesTorchModel.load)
    def load(path: str, *args: Any, **kwargs: Any) -> "LSTMSeqModel":
        with persistence.clear_load_errors(), persistence.holding_back_warnings() as held:
            check_archive(path)
            loaded = MixedCovariatesTorchModel.load(os.fspath(path), *args, **kwargs)
            model = persistence.of_class(loaded, LSTMSeqModel)
            model.model = model.of_this_save(model.model)
            kept = model.is_zero_shot and model.training_series is not None
            model._fit_called = model.model is not None or kept
            if model.model is not None or model.is_zero_shot:
                held.clear()  # the network's own file is not needed
            # a clean file has no trainer parameters but those given here
            model.trainer_params.setdefault("precision", "32-true")
            return model

    @staticmethod
    @override
    @_documented_as(MixedCovariatesTorchModel.load_from_checkpoint)
    def load_from_checkpoint(
        model_name: str, work_dir: str | None = None, *args: Any, **kwargs: Any
    ) -> "LSTMSeqModel":
        with persistence.clear_load_errors():
            persistence.check_training_folder(model_name, work_dir)
            model = MixedCovariatesTorchModel.load_from_checkpoint(
                model_name, work_dir, *args, **kwargs
            )
            return persistence.of_class(model, LSTMSeqModel)


# Darts' safe loading refuses every class that is not registered
add_safe_globals([LSTMSeqModel])
# Python 3.11.2 (Debian 12) pickles members of an `Enum` by `getattr`, which safe loading refuses:
# of likelihoods, and of the other models of an ensemble
for kind in (LikelihoodType, ModelMode, SeasonalityMode, TrendMode):
    copyreg.pickle(kind, lambda member: (type(member), (member.value,)))


def _is_plain_fit(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether `fit` is given neither covariates nor a number of epochs."""
    given = _FIT.bind(None, None, *args, **kwargs).arguments
    return not any(given.get(k) for k in ("past_covariates", "future_covariates", "epochs"))


def _has_covariates(sample: TorchTrainingSample) -> bool:
    return sample.past_covariates is not None or sample.future_covariates is not None


def _spread(indices: Sequence[int] | np.ndarray, most: int = _MAX_INITIAL_SAMPLES) -> list[int]:
    """Return at most so many, and `_MAX_INITIAL_SAMPLES`, of the indices, evenly spread."""
    count = min(len(indices), most, _MAX_INITIAL_SAMPLES)
    places = np.unique(np.linspace(0, len(indices) - 1, count).astype(int))
    return [int(indices[place]) for place in places]


def _is_finite(dataset: TorchDataset) -> bool:
    """Tell cheaply whether all values are finite; Darts' own datasets cannot tell."""
    return getattr(dataset, "is_finite", False)


def _loader_kwargs(chosen: dict[str, Any] | None, trainer: Any = None) -> dict[str, Any]:
    """Return the `DataLoader` arguments that whole batches need, updated by the user's."""
    if isinstance(trainer, DirectPredictor):  # the search for GPUs takes a tenth of a prediction
        pins = trainer.device.type == "cuda"
    else:
        pins = torch.cuda.is_available()
    return {"collate_fn": collate, "pin_memory": pins, **(chosen or {})}


def _own_random_state() -> dict[str, Any]:
    """Return the `DataLoader` arguments without which it draws a seed from the global state."""
    return {"generator": torch.Generator()}


def _check_parameters(params: dict[str, Any]) -> None:
    validation.check_parameters(
        {k: v for k, v in params.items() if not (v is None and k in defaults.AUTOMATIC)},
        at_least={
            "input_chunk_length": 1,
            "output_chunk_length": 1,
            "output_chunk_shift": 0,
            "hidden_dim": 1,
            "n_rnn_layers": 1,
            "patch_length": 1,
            "n_members": 1,
            "batch_size": 1,
            "n_epochs": 0,
            "nr_epochs_val_period": 1,
        },
    )
    validation.check_types(params, _TYPES)
    if (params["patch_length"] or 1) > params["input_chunk_length"]:
        raise_log(
            ValueError(
                f"`patch_length` must not exceed `input_chunk_length` "
                f"({params['input_chunk_length']}), received {params['patch_length']}."
            )
        )
    norm = params["use_reversible_instance_norm"]
    if not _can_normalize(norm):
        raise_log(
            ValueError(
                f"`use_reversible_instance_norm` must be a boolean, `None` or a dictionary of "
                f"'affine' (a boolean) and 'eps' (a number >= 0), received {norm!r}."
            )
        )


def _can_normalize(norm: Any) -> bool:
    if not isinstance(norm, dict):
        return norm is None or (isinstance(norm, int) and norm in (0, 1))
    eps, affine = norm.get("eps", 0.0), norm.get("affine", False)
    is_number = isinstance(eps, (int, float)) and not isinstance(eps, bool)
    is_known = norm.keys() <= {"affine", "eps"} and isinstance(affine, bool)
    return is_known and is_number and 0 <= eps < float("inf")
