"""Slow, obvious versions of what the package does fast: loops that a reader can check by eye.

Tests compare with these, on grids of sizes; nothing here is imported by the package.
"""

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from darts_lstm_seq.model import pretrained
from darts_lstm_seq.nn.network import LSTMSeqNetwork


class Tutorial(nn.Module):
    """The tutorial as beginners write it: `nn.LSTM`, `out[:, -1, :]`, `nn.Linear`."""

    def __init__(self, network: LSTMSeqNetwork) -> None:
        super().__init__()
        first = cast(nn.LSTM, network.layers[0])
        self.lstm = nn.LSTM(
            first.input_size, first.hidden_size, len(network.layers), batch_first=True
        )
        self.fc = nn.Linear(network.head.in_features, network.head.out_features)
        weights = {
            name.replace("_l0", f"_l{layer}"): weight
            for layer, lstm in enumerate(network.layers)
            for name, weight in lstm.state_dict().items()
        }
        self.lstm.load_state_dict(weights)
        self.fc.load_state_dict(network.head.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(x)
        return self.fc(out[:, -1, :])


def patches(window: np.ndarray, length: int) -> np.ndarray:
    """Cut one window `(L, F)` into patches `(N, length * F)`, the newest step in the last place."""
    rows: list[list[float]] = []
    end = len(window)
    while end > 0:
        row: list[float] = []
        for step in range(end - length, end):
            row.extend(window[max(step, 0)])
        rows.insert(0, row)
        end -= length
    return np.array(rows)


def bridge_gaps(values: np.ndarray) -> np.ndarray:
    """Fill NaN in `(L,)`: a line between neighbours, the nearest at the ends, or zero."""
    observed = [step for step in range(len(values)) if not np.isnan(values[step])]
    filled = values.copy()
    for step in range(len(values)):
        if step in observed:
            continue
        left = [k for k in observed if k < step]
        right = [k for k in observed if k > step]
        if left and right:
            a, b = left[-1], right[0]
            filled[step] = values[a] + (values[b] - values[a]) * (step - a) / (b - a)
        elif observed:
            filled[step] = values[left[-1] if left else right[0]]
        else:
            filled[step] = 0.0
    return filled


def window(values: np.ndarray, start: int, length: int) -> np.ndarray:
    """Cut a window from a series `(steps, C)`; steps before its start are NaN."""
    nothing = np.full(values.shape[1], np.nan)
    return np.array(
        [values[step] if step >= 0 else nothing for step in range(start, start + length)]
    )


def drawn_windows(
    starts: list[int], counts: list[int], step: int, per_series: int | None
) -> list[tuple[int, int]]:
    """List the (series, start) of every sample, series after series, one window after another."""
    drawn = []
    for series, (start, count) in enumerate(zip(starts, counts, strict=True)):
        own = [start + number * step for number in range(count)]
        wanted = count if per_series is None else per_series
        while len(own) < wanted:  # windows of short series repeat
            own.append(own[len(own) - count])
        drawn += [(series, start) for start in own[:wanted]]
    return drawn


def seasonal_forecast(
    window: list[float],
    coefficients: list[float],
    matrix: list[list[float]],
    season: int,
    n_windows: int,
    shift: int = 0,
) -> list[float]:
    """Forecast one component as `SeasonalSkip` does, step by step."""
    length = len(window)
    scarcity = 10 * length / (10 * length + n_windows)

    def at(step: int) -> float:  # the oldest value stands for what came before
        return window[max(step, 0)]

    def mean(steps: list[float]) -> float:
        return sum(steps) / len(steps)

    end = length - season  # where the last season begins
    level = mean(window[end:])
    level_before = mean(window[max(end - season, 0) : max(end, 1)])
    last, lag = window[-1], at(length - 1 - season)
    growth = level - level_before
    newest = range(length - max(round(season / 4), 1), length)
    ahead_of_season = mean([window[step] - at(step - season) for step in newest])
    horizon = len(matrix)
    forecast = []
    for step in range(horizon):
        ahead = shift + step
        same = at(end + ahead % season)
        before = at(end - season + ahead % season)
        cycle = (ahead // season + 1) / ((shift + horizon - 1) // season + 1)
        parts = [
            growth * cycle,
            (last - lag) - growth,
            ahead_of_season - growth,
            (before - level_before) - (same - level),
            last - same,
            level - same,
        ]
        value = (1 - scarcity) * last + scarcity * same
        value += sum(
            6 * scarcity * coefficient * part
            for coefficient, part in zip(coefficients, parts, strict=True)
        )
        value += sum(3 * (1 - scarcity) * w * x for w, x in zip(matrix[step], window, strict=True))
        forecast.append(value)
    return forecast


def season_lag_by_lag(windows: np.ndarray, n_windows: int) -> int:
    """Return the season of windows `(N, L, C)` as `find_season` does, one lag after another."""
    length = windows.shape[1]
    changes = np.diff(windows, axis=1)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # windows of NaN alone
        changes = changes - np.nanmean(changes, axis=1, keepdims=True)
        changes = changes / np.sqrt(np.nanmean(changes**2, axis=1, keepdims=True))
    changes = np.where(np.isfinite(changes), changes, 0.0)
    count, variance = changes.shape[1], np.mean(changes**2) if changes.size else 0.0
    if length < 4 or variance == 0:
        return 1

    def at(lag: int) -> float:
        return float(np.mean(changes[:, lag:] * changes[:, : count - lag])) / variance

    threshold = max(0.1, min(0.4, 4 / (n_windows + length) ** 0.5))
    peaks = {}
    for lag in range(2, length // 2 + 1):
        is_peak = at(lag) > at(lag - 1) and (lag + 1 >= count or at(lag) >= at(lag + 1))
        repeats = 3 * lag > count or at(2 * lag) >= 0.8 * at(lag)
        if is_peak and repeats and at(lag) > threshold:
            peaks[lag] = at(lag)
    return min((lag for lag in peaks if peaks[lag] >= 0.8 * max(peaks.values())), default=1)


def seasonal_regression(
    past: np.ndarray, future: np.ndarray, season: int, n_windows: int, shift: int = 0
) -> np.ndarray:
    """Return the weights `(T, L)` that `fit_ridge` finds: one forecast step, one row at a time."""
    length, steps = past.shape[1], future.shape[1]
    seasons = length // season

    def features(window: np.ndarray, phase: int) -> list[float]:
        ends = [length - number * season for number in range(seasons)]  # newest first
        levels = [window[end - season : end].mean() for end in ends]
        same = [window[end - season + phase] for end in ends]
        newest = range(length - max(round(season / 4), 1), length)
        return [
            *(value - level for value, level in zip(same, levels, strict=True)),
            *levels,
            window[-1] - window[-1 - season],
            np.mean([window[step] - window[step - season] for step in newest]),
            window[-1],
        ]

    importance = [5 / max(np.sqrt(np.mean(row**2)), 5) for row in future]
    count = 2 * seasons + 3
    weights, last_season = np.zeros((steps, length)), np.zeros((steps, length))
    for step in range(steps):
        ahead = shift + step
        rows, labels = [], []
        for other in range(steps):  # forecast steps that share their weights
            if (shift + other) // season == ahead // season:
                for window, label, weight in zip(past, future, importance, strict=True):
                    rows.append(weight * np.array(features(window, (shift + other) % season)))
                    labels.append(weight * label[other])
        # the ridge penalty as one more row for each weight
        rows += list(np.sqrt(1e-3 * count * len(rows)) * np.eye(count))
        labels += [0.0] * count
        found = np.linalg.lstsq(np.array(rows), np.array(labels), rcond=None)[0]
        weights[step] = [found @ features(unit, ahead % season) for unit in np.eye(length)]
        last_season[step, length - season + ahead % season] = 1

    def error(weights: np.ndarray) -> float:
        missed = [
            weight * (weights @ window - label)
            for window, label, weight in zip(past, future, importance, strict=True)
        ]
        return float(np.mean(np.square(missed)))

    clear = max((error(last_season) / error(weights) - 1) / 10, 1)
    share = 30 * count / (30 * count + n_windows * clear)
    return (1 - share) * weights + share * last_season


def train_one_by_one(
    networks: list[LSTMSeqNetwork],
    make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    batches: list[list[tuple[Tensor, Tensor]]],
) -> list[list[float]]:
    """Train each network by itself on its own batches, at a rate that falls as a cosine to zero."""
    losses = []
    for network, own in zip(networks, batches, strict=True):
        optimizer = make_optimizer(list(network.parameters()))
        rate = optimizer.param_groups[0]["lr"]
        found = []
        for step, (past, target) in enumerate(own):
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / len(own))) / 2
            loss = (network(past) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        losses.append(found)
    return losses


def pretrained_quantiles(season: int, values: np.ndarray) -> np.ndarray:
    """Forecast one series `(steps,)` by the weights of the file, step by step; `(T, P)`."""
    folder = Path(pretrained.__file__).parents[1] / "weights"
    listed = json.loads((folder / "networks.json").read_text())["content"]
    sizes = listed[str(season)]["parameters"]
    weights = {
        name: weight.astype(np.float64)
        for name, weight in load_file(folder / f"season_{season}.safetensors").items()
    }
    length, patch = sizes["input_chunk_length"][1], sizes["patch_length"]
    target = window(values[:, None], len(values) - length, length)[:, 0]
    mean, spread = np.nanmean(target), np.nanstd(target)
    filled = bridge_gaps((target - mean) / spread)
    rows = patches(np.stack([filled, np.isnan(target)], axis=1), patch)
    hidden = cell = np.zeros(sizes["hidden_dim"])
    for row in rows:
        gates = (
            weights["layers.0.weight_ih_l0"] @ row
            + weights["layers.0.bias_ih_l0"]
            + weights["layers.0.weight_hh_l0"] @ hidden
            + weights["layers.0.bias_hh_l0"]
        )
        entry, forget, new, output = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(new)
        hidden = sigmoid(output) * np.tanh(cell)
    flat = weights["head.weight"] @ hidden + weights["head.bias"]
    forecast = flat.reshape(sizes["output_chunk_length"], -1)
    return mean + spread * (forecast + (weights["skip"] @ filled)[:, None])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
