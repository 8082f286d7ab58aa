"""What identifies a series and a model between processes, so that stored results can be reused.

Everything that decides a forecast takes part: values, time index and static covariates of a series;
class and parameters of a model, and the weights of a fitted model among them. What is stored, and
what is done with it, is up to `results_folder.py`.

Source: `joblib.hash`, which depends neither on addresses nor on Python's hash seed.
"""

import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping
from reprlib import Repr
from typing import Any

import torch
from darts import TimeSeries
from darts.models.forecasting.forecasting_model import ForecastingModel
from joblib.hashing import NumpyHasher
from typing_extensions import override

from darts_lstm_seq.compat import fitted_state

__all__ = ["check_name", "describe_parameters", "fingerprint"]

# an object without a `repr` of its own shows its address, which differs between processes
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_SHORT = Repr()
_SHORT.maxother = 100


def fingerprint(name: Any, series: TimeSeries, *covariates: TimeSeries | None) -> str:
    """Return a short hash of a series: its name, time index, values and static covariates.

    Covariates, where there are any, take part with the same.

    Examples
    --------
    >>> from darts_lstm_seq.data import nile
    >>> from darts_lstm_seq.comparison.identity import fingerprint
    >>> fingerprint(0, nile()) == fingerprint(0, nile())
    True
    >>> fingerprint(0, nile()) == fingerprint(0, nile()[1:])
    False
    """
    digest = hashlib.sha1(usedforsecurity=False)
    for position, one in enumerate((series, *covariates)):
        if one is not None:
            _update(digest, (name, position) if position else name, one)
    return digest.hexdigest()[:16]


def _update(digest: Any, name: Any, series: TimeSeries) -> None:
    start = series.start_time() if len(series) else None
    identity = [name, start, series.freq_str, series.shape, list(series.components)]
    statics = series.static_covariates
    if statics is not None:
        identity += [statics.to_dict("tight"), list(map(str, statics.dtypes))]
    values = series.all_values(copy=False)
    identity.append(str(values.dtype))
    digest.update(repr(identity).encode("utf-8", "surrogatepass"))
    digest.update(values.tobytes())


def check_name(name: Any) -> None:
    """Check that the name of a series is the same in another process.

    Raises
    ------
    ValueError
        If its `repr` contains its address in memory.
    """
    if not isinstance(name, str) and _ADDRESS.search(repr(name)):
        raise ValueError(
            f"The results of a series named {name!r} could not be found again in `out`, because "
            f"the name has another `repr` in each process. Name it by a string or a number."
        )


def describe_parameters(path: str, value: Any) -> dict[str, Any]:
    """Return all parameters of a model, or of another value, by their paths.

    Numbers, texts, `None` and booleans are themselves; other objects are texts with a hash of their
    content. A function, wherever it is in them, is its name and its source code; what it calls, and
    the code of classes, are not compared.

    Parameters
    ----------
    path
        The name of the value.
    value
        The value; models, mappings, lists and tuples have a path for each of their parts.

    Raises
    ------
    ValueError
        If a part cannot be compared with that of another process: any lambda, and any function
        that uses variables of a function around it.

    Examples
    --------
    >>> from darts.models import NaiveSeasonal
    >>> from darts_lstm_seq.comparison.identity import describe_parameters
    >>> describe_parameters("model", NaiveSeasonal(K=12))
    {'model': 'darts.models.forecasting.baselines.NaiveSeasonal', 'model.K': 12}
    """
    return dict(_describe(path, value, is_nested=False))


def _describe(path: str, value: Any, is_nested: bool = True) -> Iterator[tuple[str, Any]]:
    if value is None or type(value) in (bool, int, float, str):
        yield path, value
    elif isinstance(value, ForecastingModel):
        yield path, _full_name(type(value))
        for name, parameter in value.model_params.items():
            yield from _describe(f"{path}.{name}", parameter)
        # a model within a model may forecast as it was fitted; others are fitted anew
        if is_nested and (state := fitted_state(value)) is not None:
            yield f"{path} (fitted)", _hash(path, state)
    elif isinstance(value, Mapping | list | tuple):
        yield path, _full_name(type(value))
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in items:
            yield from _describe(f"{path}[{key!r}]", part)
    elif inspect.isfunction(value):
        yield path, f"{_full_name(value)} [{_hash_function(path, value)}]"
    elif inspect.isclass(value):
        yield path, _full_name(value)
    else:
        yield path, f"{_ADDRESS.sub('', _SHORT.repr(value))} [{_hash(path, value)}]"


def _full_name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _hash_function(path: str, function: Any) -> str:
    try:
        if function.__closure__ or function.__name__ == "<lambda>":
            raise TypeError("it may depend on variables around it")
        source = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise _not_comparable(path, function, error) from error
    return _hash(path, [source, function.__defaults__, function.__kwdefaults__])


def _hash(path: str, value: Any) -> str:
    try:
        return str(_Hasher().hash(value))
    except Exception as error:  # of any class that cannot be pickled
        raise _not_comparable(path, value, error) from error


class _Hasher(NumpyHasher):
    """Hashes tensors by values, Darts models by parameters and fitted state, functions by code."""

    @override
    def save(self, obj: Any) -> None:
        if isinstance(obj, torch.Tensor):
            values = obj.detach().cpu().reshape(-1).view(torch.uint8).numpy()
            obj = "tensor", str(obj.dtype), tuple(obj.shape), values
        elif isinstance(obj, ForecastingModel):
            obj = _full_name(type(obj)), dict(obj.model_params), fitted_state(obj)
        elif inspect.isfunction(obj):
            super().save(obj)  # its name, by which no lambda and no closure can be found
            obj = inspect.getsource(obj), obj.__defaults__, obj.__kwdefaults__
        super().save(obj)


def _not_comparable(path: str, value: Any, reason: Exception) -> ValueError:
    return ValueError(
        f"{path} = {_SHORT.repr(value)} cannot be compared with the one of another start, so the "
        f"results in `out` could not be resumed. Define it by a function or a class at the top of "
        f"a module, or leave `out` out. Reason: {reason}"
    )
