"""From the outputs of a network to predicted values: samples, medians, constants, lower bound.

Sampling is that of Darts' likelihoods.

Source: `PLForecastingModule._produce_predict_output`.
"""

from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import PLModuleInput, PLModuleOutput
from darts.utils.likelihood_models.torch import QuantileRegression
from typing_extensions import override

from darts_lstm_seq.training.normalization import InstanceNorm

# B batch, T output steps, C target components, Q quantiles


class PredictedValues(PLForecastingModule):
    """Lightning module whose predicted values differ from Darts' in the three ways below."""

    rin: InstanceNorm | None
    predict_median: bool
    nonnegative: bool

    @override
    def _produce_predict_output(self, x: PLModuleInput) -> PLModuleOutput:
        output = self._values_or_parameters(x)
        is_parameter = self.predict_likelihood_parameters and self.likelihood is not None
        if is_parameter and not isinstance(self.likelihood, QuantileRegression):
            return output
        prediction = output.prediction  # (B, T, C)
        if self.rin is not None and not is_parameter:
            prediction = self.rin.repeat_constants(prediction)
        return output.replace(
            prediction=prediction.clamp(min=0) if self.nonnegative else prediction
        )

    def _values_or_parameters(self, x: PLModuleInput) -> PLModuleOutput:
        is_sampled = self.pred_num_samples > 1 or self.predict_likelihood_parameters
        if is_sampled or not self.predict_median:
            return super()._produce_predict_output(x)
        output = self(x)  # (B, T, C, Q)
        median = self.likelihood.quantiles.index(0.5)
        return output.replace(prediction=output.prediction[..., median])  # (B, T, C)
