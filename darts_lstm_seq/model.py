"""`LSTMSeqModel`, the model a user makes: parameters, defaults, validation and Darts' hooks.

Windows, metrics, backtests and file formats are Darts'; the network and what surrounds it is in
`module.py`.

Source: `darts.models.BlockRNNModel`, whose parameter names and behaviour this class keeps, so that
changing the class name in an existing script is enough.
"""

from typing import Any

from darts.logging import raise_log
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.serialization import add_safe_globals

from darts_lstm_seq.module import LSTMSeqModule


class LSTMSeqModel(MixedCovariatesTorchModel):
    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        hidden_dim: int = 64,
        n_rnn_layers: int = 1,
        patch_length: int = 1,
        dropout: float = 0.0,
        shared_weights: bool = False,
        use_static_covariates: bool = True,
        use_reversible_instance_norm: bool | dict[str, Any] = True,
        **kwargs: Any,
    ) -> None:
        """LSTM for sequences: the last hidden state of the input window predicts the whole output chunk.

        The network of the well-known tutorial (windows -> ``nn.LSTM`` -> last time step ->
        ``nn.Linear``) as a Darts model. Unlike in ``BlockRNNModel``, all output steps are predicted
        from the state after the newest observation. Works on raw, unscaled data: each window is
        normalised by its own past.

        The model supports past covariates (known for the ``input_chunk_length`` steps before
        prediction time), future covariates (known for the ``output_chunk_length`` steps after it
        and ``input_chunk_length`` steps before it), and static covariates.

        Parameters
        ----------
        input_chunk_length
            Number of time steps in the past to take as a model input (per chunk). Applies to the
            target series and to past and future covariates.
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
        dropout
            Fraction of the hidden units dropped between LSTM layers and before the linear layer.
        shared_weights
            Whether to forecast each component of a multivariate target on its own, with one network
            for all components.
        use_static_covariates
            Whether the model should use static covariate information in case the input `series`
            passed to ``fit()`` contain static covariates. If ``True``, and static covariates are
            available at fitting time, will enforce that all target `series` have the same static
            covariate dimensionality in ``fit()`` and ``predict()``.
        use_reversible_instance_norm
            Whether to normalise each target window by its own past before the network and to return
            forecasts to the original scale after it, in the way the likelihood asks for. The loss is
            measured in normalised space, so that no series drowns another, and covariates are
            standardised by the training data. A dictionary can set ``{"affine": bool, "eps":
            float}``. ``False`` gives the plain tutorial.
        **kwargs
            Further parameters of Darts' ``TorchForecastingModel`` (``n_epochs``, ``batch_size``,
            ``random_state``, ``pl_trainer_kwargs``, ``add_encoders``, ...) and
            ``PLForecastingModule`` (``loss_fn``, ``likelihood``, ``optimizer_cls``, ...), which
            documents them. Two things differ: the network computes in single precision whatever the
            dtype of the series, unless ``pl_trainer_kwargs={"precision": ...}`` says otherwise, and
            forecasts keep the dtype of the series.

        Raises
        ------
        ValueError
            If a parameter is out of its range.

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
        _check_parameters(self.model_params)
        super().__init__(**self._extract_torch_model_params(**self.model_params))
        self.pl_module_params = self._extract_pl_module_params(**self.model_params)
        # Darts would compute in the dtype of the series, which pandas makes float64: several times
        # slower. The module normalises in that dtype and casts, so nothing is lost.
        self.trainer_params.setdefault("precision", "32-true")

        self.hidden_dim = hidden_dim
        self.n_rnn_layers = n_rnn_layers
        self.patch_length = patch_length
        self.dropout = dropout
        self.shared_weights = shared_weights
        self._considers_static_covariates = use_static_covariates

    def _create_model(self, train_sample: TorchTrainingSample) -> LSTMSeqModule:
        return LSTMSeqModule(
            hidden_dim=self.hidden_dim,
            n_rnn_layers=self.n_rnn_layers,
            patch_length=self.patch_length,
            dropout=self.dropout,
            shared_weights=self.shared_weights,
            mask_inputs=False,
            **self.pl_module_params,
        )

    @property
    def supports_static_covariates(self) -> bool:
        return True


# Darts loads nothing it does not know; without this, files of our models would be refused
add_safe_globals([LSTMSeqModel])


def _check_parameters(params: dict[str, Any]) -> None:
    """Raise a `ValueError` for the first parameter that is out of its range."""
    at_least = {
        "input_chunk_length": 1,
        "output_chunk_length": 1,
        "output_chunk_shift": 0,
        "hidden_dim": 1,
        "n_rnn_layers": 1,
        "patch_length": 1,
        "n_epochs": 0,
        "batch_size": 1,
    }
    for name, minimum in at_least.items():
        value = params.get(name, minimum)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise_log(ValueError(f"`{name}` must be an integer >= {minimum}, received {value!r}."))
    if params["patch_length"] > params["input_chunk_length"]:
        raise_log(
            ValueError(
                f"`patch_length` must not exceed `input_chunk_length` "
                f"({params['input_chunk_length']}), received {params['patch_length']}."
            )
        )
    dropout = params["dropout"]
    if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise_log(ValueError(f"`dropout` must be in [0, 1), received {dropout!r}."))
