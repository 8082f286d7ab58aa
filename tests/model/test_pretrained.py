"""Pre-trained networks: which one a series gets, what it forecasts, and what `fit` does to it."""

import copy
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.metrics import mae
from darts.models import ConformalNaiveModel, NaiveEnsembleModel, NaiveSeasonal
from makers import following, sine, white_noise, with_gaps, with_value
from oracles import pretrained_quantiles

from darts_lstm_seq import LSTMSeqModel
from darts_lstm_seq.model import pretrained_networks
from darts_lstm_seq.model.pretrained import choose_season
from darts_lstm_seq.model.pretrained_networks import networks
from darts_lstm_seq.model.stacking import fit_together

SEASONS = [1, 4, 7, 12, 24, 52]
FREQUENCIES = {1: "YS", 4: "QS", 7: "D", 12: "MS", 24: "h", 52: "W-MON"}


@pytest.fixture
def make(trainer_kwargs: dict[str, Any]) -> Any:
    def make(season: int | None = None, **kwargs: Any) -> LSTMSeqModel:
        return LSTMSeqModel.from_pretrained(
            season, **{"random_state": 0, "pl_trainer_kwargs": trainer_kwargs, **kwargs}
        )

    return make


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the package read its weights from a copy that a test may damage."""
    copied = tmp_path / "weights"
    shutil.copytree(pretrained_networks.FOLDER, copied)
    monkeypatch.setattr(pretrained_networks, "FOLDER", copied)
    for cached in (pretrained_networks.networks, pretrained_networks._weights):
        cached.cache_clear()
    yield copied
    for cached in (pretrained_networks.networks, pretrained_networks._weights):
        cached.cache_clear()


def quantiles(model: LSTMSeqModel, n: int, series: TimeSeries) -> np.ndarray:
    forecast = model.predict(n, series, predict_likelihood_parameters=True)
    return forecast.values().reshape(n, series.n_components, -1)


@pytest.mark.parametrize("season", SEASONS)
@pytest.mark.parametrize("width", [1, 2])
def test_forecasts_are_those_of_the_weights_in_the_file(season: int, width: int, make: Any) -> None:
    shortest, longest = networks()[season].parameters["input_chunk_length"]
    model = make(season)
    for length in (shortest, (shortest + longest) // 2, longest, longest + 5):
        series = sine(length, 1, width, season=max(season, 3), level=50, dtype="float64")
        if length > shortest:
            series = with_value(series, [-3, -4])
        found = quantiles(model, model.output_chunk_length, series)
        for component in range(width):
            expected = pretrained_quantiles(season, series.values()[:, component])
            np.testing.assert_allclose(found[:, component], expected, rtol=1e-5)


@pytest.mark.parametrize("season", SEASONS)
def test_the_frequency_chooses_the_season(season: int) -> None:
    assert choose_season(sine(200, FREQUENCIES[season], season=5)) == season


@pytest.mark.parametrize("season", SEASONS)
def test_without_dates_the_values_choose(season: int, caplog: pytest.LogCaptureFixture) -> None:
    series = sine(200, 1, season=season, noise=0.3) if season > 1 else white_noise(200, 2)
    assert choose_season(series) == season
    assert not caplog.records


def test_a_frequency_without_a_network_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_season(sine(400, "30min", season=48)) == 1
    assert "season of 48 steps (frequency 30min)" in caplog.text


def test_a_frequency_without_a_network_is_named_once(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    series = [sine(60, "B", season=5), sine(400, "30min", season=48), sine(50, "B", season=5)]
    make().predict(3, series)
    assert caplog.text.count("season of 5 steps (frequency B)") == 1
    assert caplog.text.count("season of 48 steps (frequency 30min)") == 1


def test_a_series_too_short_for_its_season_is_forecast_without() -> None:
    assert [choose_season(sine(length, "MS")) for length in (12, 13)] == [1, 12]


@pytest.mark.parametrize(("length", "season"), [(12, 1), (13, 1), (14, 12)])
def test_a_series_too_short_to_train_on_its_season_is_fitted_without(
    make: Any, length: int, season: int
) -> None:
    model = make(n_epochs=1).fit(sine(length, "MS", level=10))
    assert model.pretrained_season == season
    assert np.isfinite(model.predict(3).values()).all()


def test_a_short_series_among_long_ones_is_named_as_too_short(make: Any) -> None:
    series = sine(60, level=10)
    with pytest.raises(ValueError, match=r"`series` at index 1 is too short .* 10 steps, and 14"):
        make().fit([series, series[:10]])


def test_states_of_networks_of_several_sizes_are_refused(make: Any) -> None:
    months, days = sine(60, level=10), sine(60, "D", season=7)
    assert make().encode([months, months]).shape == (2, 192)
    with pytest.raises(ValueError, match=r"at index 1 has a hidden state of 128 .* one of 192"):
        make().encode([months, days])
    assert make(12).encode([months, days]).shape == (2, 192)


@pytest.mark.parametrize("method", ["lr_find", "scale_batch_size"])
def test_what_trains_without_a_fit_asks_for_a_season(make: Any, method: str) -> None:
    with pytest.raises(ValueError, match=r"from_pretrained\(season=...\)"):
        getattr(make(), method)(sine(60, level=10))


def test_only_a_file_without_weights_warns_of_it(
    make: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="darts")
    path = str(tmp_path / "model.pt")
    make().save(path)
    LSTMSeqModel.load(path)
    assert not caplog.records
    LSTMSeqModel(12, 6).save(path)
    LSTMSeqModel.load(path)
    assert "loaded without weights" in caplog.text


def test_series_of_several_seasons_widths_and_types_in_one_call(make: Any) -> None:
    series = [
        sine(90, "MS", level=9),
        sine(40, "QS", 2, season=4),
        sine(90, "MS", dtype="float64"),
        sine(20, "YS"),
        sine(100, "MS", scale=3),
    ]
    model = make()
    together = model.predict(5, series)
    for target, forecast in zip(series, together, strict=True):
        assert forecast.time_index.equals(following(target, 5))
        assert forecast.dtype == target.dtype
        assert list(forecast.components) == list(target.components)
        # in a batch of another size, sums may be rounded in another order
        np.testing.assert_allclose(
            forecast.values(), model.predict(5, target).values(), rtol=1e-5, atol=1e-6
        )
        own = make(choose_season(target)).predict(5, target)
        np.testing.assert_array_equal(own.values(), model.predict(5, target).values())


def test_a_point_forecast_is_the_median_and_samples_are_spread_around_it(make: Any) -> None:
    series, model = sine(60, level=10, noise=0.3), make()
    median = model.predict(12, series)
    levels = networks()[12].quantiles
    expected = quantiles(model, 12, series)[..., levels.index(0.5)]
    np.testing.assert_allclose(median.values(), expected, rtol=1e-6)
    assert np.array_equal(median.values(), model.predict(12, series).values())
    samples = model.predict(12, series, num_samples=2000)
    for level in (0.1, 0.5, 0.9):
        found = samples.quantile(level).values()
        exact = quantiles(model, 12, series)[..., levels.index(level)]
        np.testing.assert_allclose(found, exact, atol=0.1)


def test_beyond_the_output_chunk_the_median_is_fed_back(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    series, model = sine(30, "QS", season=4, level=10), make()
    length = networks()[4].parameters["output_chunk_length"]
    first = model.predict(length, series)
    assert not caplog.records
    second = model.predict(length, series.append(first))
    both = model.predict(2 * length, series)
    assert f"beyond {length} steps" in caplog.text
    np.testing.assert_allclose(both.values(), first.append(second).values(), rtol=1e-5)


def test_historical_forecasts_without_training_are_those_of_predict(make: Any) -> None:
    series = [sine(80, "MS", level=9), sine(40, "QS", 2, season=4)]
    options = {"forecast_horizon": 3, "stride": 7, "last_points_only": False, "start": 0.7}
    model = make()
    for target, forecasts in zip(
        series, model.historical_forecasts(series, retrain=False, **options), strict=True
    ):
        assert len(forecasts) > 1
        for forecast in forecasts:
            past = target.drop_after(forecast.start_time())
            expected = model.predict(3, past)
            assert forecast.time_index.equals(expected.time_index)
            np.testing.assert_allclose(forecast.values(), expected.values(), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("season", [None, 12])
def test_a_retrained_backtest_starts_from_the_weights(make: Any, season: int | None) -> None:
    series = sine(100, "MS", level=9, noise=0.3)
    options = {"forecast_horizon": 6, "stride": 6, "last_points_only": False, "start": -18}
    options |= {"start_format": "position", "retrain": True}
    stacked = make(season, n_epochs=2).historical_forecasts(series, **options)
    alone = make(season, n_epochs=2).historical_forecasts(
        series, enable_optimization=False, **options
    )
    assert len(stacked) == 3
    for one, other in zip(stacked, alone, strict=True):
        np.testing.assert_allclose(one.values(), other.values(), rtol=1e-4)
    untrained = make(season, n_epochs=0).historical_forecasts(series, **options)
    expected = make().historical_forecasts(series, **options | {"retrain": False})
    for one, other in zip(untrained, expected, strict=True):
        np.testing.assert_allclose(one.values(), other.values(), rtol=1e-5)
    assert not np.array_equal(untrained[0].values(), stacked[0].values())


@pytest.mark.parametrize("kind", ["past", "future", "both", "static"])
def test_covariates_have_no_effect_before_they_are_trained(make: Any, kind: str) -> None:
    series = sine(70, "MS", 2, level=9)
    chosen = {"past": ["past"], "future": ["future"], "both": ["past", "future"], "static": []}
    covariates = {
        f"{name}_covariates": sine(110, "MS", width, name=name, level=3, season=5)
        for width, name in enumerate(chosen[kind], start=1)
    }
    options: dict[str, Any] = {"n_epochs": 1, "optimizer_kwargs": {"lr": 0.0}}
    if kind == "static":
        options["use_static_covariates"] = True
        series = series.with_static_covariates(pd.DataFrame({"size": [1.0, 2.0]}))
    model = make(**options).fit(series, **covariates)
    expected = make().predict(6, series).values()
    np.testing.assert_allclose(model.predict(6, **covariates).values(), expected, rtol=1e-5)


@pytest.mark.slow
def test_covariates_are_learnt(make: Any) -> None:
    rng = np.random.default_rng(0)
    known = TimeSeries.from_values(rng.standard_normal((160, 1)).astype("float32"))
    series = TimeSeries.from_values(known.values()[:150] * 2 + 20)
    model = make(1).fit(series[:-8], future_covariates=known)
    with_it, without = model.predict(8), make(1).predict(8, series[:-8])
    assert mae(series, with_it) < 0.5 * mae(series, without)


def test_fit_adapts_and_chooses_for_good(make: Any) -> None:
    series, model = sine(60, "QS", season=4, level=10), make(n_epochs=3)
    before = model.predict(4, series)
    assert model.fit(series) is model
    assert model.pretrained_season == 4
    assert not np.array_equal(before.values(), model.predict(4).values())
    other = make(n_epochs=3).fit([series])
    np.testing.assert_array_equal(other.predict(4, series).values(), model.predict(4).values())
    np.testing.assert_array_equal(
        model.untrained_model().predict(4, series).values(), before.values()
    )


def test_labels_beyond_the_end_of_a_series_are_unknown(make: Any) -> None:
    model, series = make(4), sine(40, level=10)
    shortest, ahead = model.min_input_chunk_length, model.output_chunk_length
    dataset = model.prepare_training(series).dataset
    assert len(dataset) == len(series) - shortest
    newest = dataset[0]  # all but its first label is unknown
    assert newest.past_target[-1] == series.values()[-2]
    assert newest.future_target[0] == series.values()[-1]
    assert np.isnan(newest.future_target[1:]).all()
    guarded = [dataset[index].future_target for index in dataset.of_last_horizon()]
    assert not np.isnan(guarded).any()
    np.testing.assert_array_equal(guarded[0], series.values()[-ahead:])
    # a short series has windows with some known labels only
    short = make(4).prepare_training(series[: shortest + 1]).dataset
    assert short.of_last_horizon() == [0]
    assert np.isnan(short[0].future_target).sum() == ahead - 1
    with_weights = make(4).prepare_training(series, sample_weight="linear").dataset
    assert len(with_weights) == len(series) - shortest - ahead + 1


@pytest.mark.parametrize("kind", ["alone", "stack"])
def test_a_fit_that_makes_the_newest_horizon_worse_is_undone(make: Any, kind: str) -> None:
    series = [sine(60, level=10, noise=0.3), sine(70, level=10, noise=0.3, seed=1)]
    expected = make().predict(4, series)
    for climbs in (True, False):
        settings = {"lr": 1e-3, "maximize": climbs}
        options = {"optimizer_cls": torch.optim.Adam, "optimizer_kwargs": settings}
        models = [make(n_epochs=2, **options) for _ in series]
        if kind == "alone":
            for model, target in zip(models, series, strict=True):
                model.fit(target)
        else:
            fit_together(models, [{"series": target} for target in series])
        for model, forecast in zip(models, expected, strict=True):
            is_equal = np.allclose(model.predict(4).values(), forecast.values(), rtol=1e-6)
            assert is_equal == climbs


def test_with_no_epoch_fit_keeps_the_weights_of_the_shortest_series(make: Any) -> None:
    for season in SEASONS:
        length, _ = networks()[season].parameters["input_chunk_length"]
        series = sine(length, FREQUENCIES[season], 2)
        fitted = make(n_epochs=0).fit(series)
        assert fitted.is_zero_shot
        np.testing.assert_array_equal(
            fitted.predict(3).values(), make().predict(3, series).values()
        )


def test_a_failed_fit_leaves_the_model_as_it_was(make: Any) -> None:
    series, model = sine(60, level=10), make()
    before = model.predict(3, series)
    with pytest.raises(ValueError, match=r"`series` at index 1 is too short .* 13 steps, and 14"):
        model.fit([series, series[:13]])
    with pytest.raises(ValueError, match=r"`series` at index 1 has a season of 4 steps"):
        model.fit([series, sine(40, "QS", season=4)])
    np.testing.assert_array_equal(model.predict(3, series).values(), before.values())
    assert len(model.predict(3, sine(40, "QS", season=4))) == 3


@pytest.mark.parametrize("is_fitted", [False, True])
@pytest.mark.parametrize("way", ["file", "clean file", "pickle", "deepcopy", "reset"])
def test_copies_forecast_the_same(make: Any, tmp_path: Path, way: str, is_fitted: bool) -> None:
    series, model = sine(60, level=10), make(n_epochs=2)
    if is_fitted and way != "reset":
        model.fit(series)
    expected = model.predict(4, series)
    path = str(tmp_path / "model.pt")
    if way.endswith("file"):
        model.save(path, clean=way == "clean file")
        copied = LSTMSeqModel.load(path)
    elif way == "reset":
        copied = model
        if is_fitted:
            copied.fit(series)
        copied.reset_model()
    else:
        copied = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    np.testing.assert_array_equal(copied.predict(4, series).values(), expected.values())
    if not is_fitted and way != "clean file":
        assert len(copied.fit(series).predict(4)) == 4


def test_in_ensembles_and_with_conformal_intervals(make: Any) -> None:
    series = sine(90, level=10, noise=0.3)
    ensemble = NaiveEnsembleModel([make(n_epochs=0), NaiveSeasonal(12)]).fit(series)
    mean = make().predict(5, series).values() + NaiveSeasonal(12).fit(series).predict(5).values()
    np.testing.assert_allclose(ensemble.predict(5).values(), mean / 2, rtol=1e-5)
    fitted = make(n_epochs=0).fit(series)
    conformal = ConformalNaiveModel(fitted, quantiles=[0.1, 0.5, 0.9], cal_length=10)
    low, median, high = conformal.predict(5, series, predict_likelihood_parameters=True).values().T
    assert (low < median).all()
    assert (median < high).all()
    # of 500 samples
    np.testing.assert_allclose(median, make().predict(5, series).values()[:, 0], rtol=0.01)


@pytest.mark.parametrize("season", [4, 12])
def test_better_than_the_last_season_on_trends_and_seasons(make: Any, season: int) -> None:
    errors, naive = [], []
    for seed in range(8):
        series = sine(6 * season, 1, season=season, level=50, noise=0.3, trend=0.03, seed=seed)
        past, future = series[:-season], series[-season:]
        errors.append(mae(future, make(season).predict(season, past)))
        naive.append(mae(future, NaiveSeasonal(season).fit(past).predict(season)))
    assert np.mean(errors) < 0.9 * np.mean(naive)


def test_missing_values_and_a_constant(make: Any) -> None:
    series, model = sine(60, level=10), make()
    forecast = model.predict(12, with_gaps(series, 0.2))
    np.testing.assert_allclose(forecast.values(), model.predict(12, series).values(), atol=0.6)
    constant = TimeSeries.from_values(np.full(60, 7.0))
    assert (model.predict(5, constant).values() == 7).all()


def test_shifted_and_scaled_series_have_shifted_and_scaled_forecasts(make: Any) -> None:
    series, model = sine(60, dtype="float64"), make()
    np.testing.assert_allclose(
        model.predict(6, series * 1e-6 + 3).values(),
        model.predict(6, series).values() * 1e-6 + 3,
        rtol=1e-9,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda make, _: make(5), r"`season` must be .* received 5"),
        (lambda make, _: make(True), r"`season` must be .* received True"),
        (lambda make, _: make("12"), r"`season` must be .* received '12'"),
        (lambda make, _: make(hidden_dim=3), r"`hidden_dim` is fixed .* received 3"),
        (lambda make, _: make(n_members=3), r"`n_members` is fixed .* received 3"),
        (lambda make, _: make().predict(3), r"`series` must be given"),
        (
            lambda make, series: make().predict(3, series, future_covariates=series),
            r"`future_covariates` need `fit\(\)`",
        ),
        (
            lambda make, series: make().historical_forecasts(
                series, retrain=False, past_covariates=series
            ),
            r"`past_covariates` need `fit\(\)`",
        ),
        (lambda make, series: make().predict(3, series[:3]), r"too short"),
        (lambda make, _: make().to_onnx("model.onnx"), r"not chosen yet"),
    ],
)
def test_errors_name_the_repair(make: Any, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(make, sine(60))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: flip(folder / "season_12.safetensors"), "season_12.safetensors.*damaged"),
        (lambda folder: (folder / "season_12.safetensors").unlink(), "cannot be read.*No such"),
        (lambda folder: (folder / "networks.json").unlink(), "networks.json.*cannot be read"),
        (lambda folder: (folder / "networks.json").write_text("{"), "networks.json.*cannot be"),
        (lambda folder: (folder / "networks.json").write_text("[]"), "networks.json.*cannot be"),
        (
            lambda folder: replace(folder / "networks.json", '"12": {', '"14": {'),
            "checksum differs",
        ),
        (
            lambda folder: replace(folder / "networks.json", 't": 0.0', 't": 0.4'),
            "checksum differs",
        ),
    ],
)
def test_damaged_weights_are_named_with_the_repair(
    folder: Path, make: Any, damage: Any, message: str
) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=rf"(?s){message}.*pip install"):
        make().predict(3, sine(60))


def test_without_weights_other_models_are_made(folder: Path) -> None:
    shutil.rmtree(folder)
    assert not LSTMSeqModel(12, 3).is_zero_shot


def test_weights_are_small() -> None:
    files = list(pretrained_networks.FOLDER.iterdir())
    assert {f"season_{season}.safetensors" for season in SEASONS} < {f.name for f in files}
    assert sum(file.stat().st_size for file in files) < 2e6
    assert sorted(networks()) == SEASONS


def test_series_too_short_to_be_fitted_with_covariates_are_named(trainer_kwargs: dict) -> None:
    model = LSTMSeqModel.from_pretrained(12, n_epochs=1, pl_trainer_kwargs=trainer_kwargs)
    long, short = sine(60), sine(36)
    message = (
        r"`series` at index 1 is too short .*: it has 36 steps, and 37 are needed \(13 of input, "
        r"24 to forecast\)\. .* fit without covariates.*: then 14 steps are enough"
    )
    for given in (
        {"past_covariates": [sine(90), sine(90)]},
        {"future_covariates": [sine(90), sine(90)]},
        {"sample_weight": "linear"},
        {"max_samples_per_ts": 3},
    ):
        with pytest.raises(ValueError, match=message):
            model.untrained_model().fit([long, short], **given)
    assert len(model.untrained_model().fit([long, short]).predict(3, short)) == 3
    enough = sine(37)
    model.fit([long, enough], past_covariates=[sine(90), sine(90)])
