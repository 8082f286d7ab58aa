"""Comparisons of many series: rows, order, workers, resumption, Dask workers that are killed."""

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import LinearRegressionModel, NaiveDrift, NaiveSeasonal
from darts.models.forecasting.forecasting_model import ForecastingModel
from makers import sine, with_value

from darts_lstm_seq import Comparison, LSTMSeqModel, compare
from darts_lstm_seq.cli import main

NAIVE = ["NaiveSeasonal", "NaiveDrift"]
SCHEDULE = {"start": 40, "forecast_horizon": 3, "stride": 6, "last_points_only": False}


class Deadly(NaiveDrift):
    """Kills the process that fits it to a series that starts at `START`, until `file` exists."""

    START = 0.0

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def fit(self, series: TimeSeries, *args: Any, **kwargs: Any) -> Any:
        if series.first_value() == self.START and not Path(self.file).exists():
            self.before_death()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(series, *args, **kwargs)

    def before_death(self) -> None:
        pass


class Always(Deadly):
    START = 666.0


class Once(Deadly):
    START = 555.0

    def before_death(self) -> None:
        Path(self.file).touch()


def shop(index: int, length: int = 60) -> TimeSeries:
    """Return monthly sales from 2010 on; each index has a level and noise of its own."""
    shape = {"level": 50 + index, "scale": 5, "noise": 0.2, "seed": index}
    series = sine(length, start="2010-01-01", dtype="float64", **shape)
    return series.with_columns_renamed("y0", "sales")


@pytest.fixture(scope="module")
def several() -> list[TimeSeries]:
    """Seven series, of which the second to fourth are too short, missing and constant."""
    series = [shop(index) for index in range(7)]
    series[1] = series[1][:10]
    series[2] = series[2] * np.nan
    series[3] = series[3] * 0 + 5
    return series


def run(series: Any, models: Any = NAIVE, **kwargs: Any) -> Comparison:
    return compare(series, 6, models, folds=2, show_progress=False, **kwargs)


def without_seconds(table: pd.DataFrame) -> pd.DataFrame:
    return table[[name for name in table if "seconds" not in name]]


def assert_same(found: Comparison, expected: Comparison) -> None:
    """Compare all columns but those of seconds."""
    for name in ("scores", "per_series", "forecasts"):
        pd.testing.assert_frame_equal(
            without_seconds(getattr(found, name)),
            without_seconds(getattr(expected, name)),
            check_dtype=False,
        )


def test_each_series_has_the_rows_it_has_alone(several: list[TimeSeries]) -> None:
    found = run(several)
    for index in (0, 4, 6):
        alone = run(several[index])
        rows = found.per_series.query("series == @index").reset_index(drop=True)
        columns = ["model", "folds", "horizon", "seasonality", "MASE", "sMAPE", "RMSE"]
        pd.testing.assert_frame_equal(rows[columns], alone.scores[columns], check_dtype=False)
        forecasts = found.forecasts.query("series == @index").drop(columns="series")
        forecasts = forecasts.reset_index(drop=True)
        pd.testing.assert_frame_equal(forecasts, alone.forecasts, check_dtype=False)


def test_the_summary_is_over_series_that_all_models_scored(
    several: list[TimeSeries],
) -> None:
    models = {
        "naive": NaiveSeasonal(K=12),
        "long": LinearRegressionModel(lags=40),  # needs more than the shortest series has
        "too long": LinearRegressionModel(lags=400),
    }
    found = run([*several, shop(8, 50)], models)
    scores = found.scores.set_index("model")
    assert scores["failed"].to_dict() == {"naive": 3, "long": 4, "too long": 8}
    assert scores["series"].to_dict() == {"naive": 4, "long": 4, "too long": 0}
    assert scores["error"].isna().to_dict() == {"naive": True, "long": True, "too long": False}
    naive = found.per_series.query("model == 'naive'").set_index("series")["MASE"]
    assert scores.loc["naive", "MASE"] == pytest.approx(naive[[0, 4, 5, 6]].mean())
    assert found.scores["model"].iloc[-1] == "too long"


def test_a_note_says_on_which_series_models_are_ranked() -> None:
    models = {"naive": NaiveSeasonal(K=12), "long": LinearRegressionModel(lags=40)}
    series = [shop(0), shop(1), shop(2), shop(3, 50), shop(4, 10)]
    scores = run(series, models).scores.set_index("model")
    assert scores["failed"].to_dict() == {"naive": 1, "long": 2}
    note = "means are over the 3 of 4 series that all ranked models scored"
    assert scores["note"].tolist() == [note] * 2
    assert "note" not in run(series[:3], models).scores.dropna(axis=1)


def test_a_model_that_fails_on_most_series_does_not_decide_on_which_others_are_ranked() -> None:
    models = {"naive": NaiveSeasonal(K=12), "long": LinearRegressionModel(lags=40)}
    series = [shop(0), *(shop(index, 50) for index in range(1, 4))]
    found = run(series, models)
    scores = found.scores.set_index("model")
    assert scores["series"].to_dict() == {"naive": 4, "long": 0}
    assert scores.loc["long", "error"] == "no more than 1 of 4 series have scores"
    assert np.isnan(scores.loc["long", "MASE"])
    assert scores.loc["long", "failures"].startswith("3 series: ValueError")
    naive = found.per_series.query("model == 'naive'")["MASE"]
    assert scores.loc["naive", "MASE"] == pytest.approx(naive.mean())
    assert found.best == "naive"
    assert found.scores["note"].isna().all()


def test_arima_ranks_series_of_two_years() -> None:
    found = run([shop(0, 36), shop(1)], ["ARIMA", "NaiveSeasonal"])
    assert found.scores[["series", "failed"]].to_numpy().tolist() == [[2, 0]] * 2
    years = TimeSeries.from_values(np.arange(9.0) + np.sin(np.arange(9)))
    short = compare([years, years + 1], 2, ["ARIMA", "NaiveDrift"], show_progress=False)
    assert (short.scores["folds"] == 2).all()  # trained on five steps
    assert (short.scores["failed"] == 0).all()


def test_folds_are_as_many_as_nine_of_ten_series_are_long_enough_for(caplog: Any) -> None:
    naive = ["NaiveDrift"]
    two_years = [shop(index, 24 + 24) for index in range(10)]
    found = compare(two_years, 12, naive, show_progress=False)
    assert (found.scores["folds"] == 2).all()
    assert "`folds` is 2, as 3 of horizon 12 need 60 steps" in caplog.text
    long = [shop(index) for index in range(9)]
    found = compare([*long, two_years[0], shop(1, 8)], 12, naive, show_progress=False)
    assert (found.scores["folds"] == 3).all()
    assert found.scores["failed"].tolist() == [2]  # 8 steps are too few for any fold
    error = found.per_series["error"][9]
    assert "has 48 time steps, too few for 3 folds" in error
    assert "Set `folds` to 2, or `horizon` to 9" in error


def test_a_series_with_an_error_does_not_stop_others(
    several: list[TimeSeries],
) -> None:
    errors = run(several).per_series.set_index("series")["error"]
    for index, message in ((1, "10 time steps, too few"), (2, "missing"), (3, "constant")):
        assert errors[index].str.contains(message).all()
    assert errors[[0, 4, 5, 6]].isna().all()


def test_a_comparison_in_which_all_series_fail_is_a_result() -> None:
    found = run([shop(0, 5), shop(1, 5)])
    assert found.forecasts.empty
    assert (found.scores["failed"] == 2).all()


def test_series_keep_their_names_and_can_be_plotted(several: list[TimeSeries]) -> None:
    named = {"b": several[0], "short": several[1], "a": several[4]}
    found = run(named)
    assert found.per_series["series"].drop_duplicates().tolist() == ["b", "short", "a"]
    assert len(found.plot(series="a").axes) == len(NAIVE)
    with pytest.raises(ValueError, match=r"`series` must be one of .*'b'.*received 'c'"):
        found.plot(series="c")


@pytest.mark.cluster
def test_workers_find_what_one_process_finds(
    several: list[TimeSeries], tiny: dict, tmp_path: Path
) -> None:
    params = tiny | {"dropout": 0.3}
    models = {"lstm": LSTMSeqModel(12, 6, **params), "naive": NaiveSeasonal(K=12)}
    assert_same(run(several, models), run(several, models, n_jobs=2, out=tmp_path / "out"))


def test_a_repeated_call_evaluates_what_is_missing(
    several: list[TimeSeries], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = run(several[:4], out=out)
    fitted = []
    fit = NaiveDrift.fit
    monkeypatch.setattr(
        NaiveDrift,
        "fit",
        lambda self, series, *a, **k: fitted.append(series) or fit(self, series, *a, **k),
    )
    assert_same(run(several[:4], out=out), first)
    assert not fitted
    changed = [several[0] + 1, *several[1:]]  # other values, three series more
    second = run(changed, out=out)
    starts = {float(series.first_value()) for series in fitted}
    assert starts == {float(changed[index].first_value()) for index in (0, 4, 5, 6)}
    assert_same(second, run(changed))


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([], "`series` is empty"),
        ([1], "must hold Darts `TimeSeries`, received int at 0"),
        ({"a": "b"}, "received str at 'a'"),
    ],
)
def test_refuses_what_does_not_hold_series(series: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(series)


def test_refuses_a_wrong_number_of_jobs(several: list[TimeSeries]) -> None:
    with pytest.raises(ValueError, match="`n_jobs` must be"):
        run(several, n_jobs=0)


def test_an_infinite_value_fails_its_own_series_only() -> None:
    found = run([shop(0), with_value(shop(1), 30, np.inf), shop(2)])
    errors = found.per_series.set_index("series")["error"]
    assert errors.loc[1].str.contains("infinite at 2012-07-01").all()
    assert errors.drop(1).isna().all()
    assert found.scores["failed"].tolist() == [1, 1]
    others = run({0: shop(0), 2: shop(2)}).scores
    assert found.scores["MASE"].tolist() == others["MASE"].tolist()


def test_an_empty_series_fails_itself_only() -> None:
    found = run([shop(0)[:0], shop(1)])
    assert found.scores["failed"].tolist() == [1, 1]
    assert len(found.plot().axes[0].lines) == 5  # those of the other series


def test_the_mean_mase_leaves_out_series_without_one() -> None:
    pattern = shop(1).with_values(np.tile(np.arange(12.0), 5)[:, None])  # repeats itself exactly
    found = run([shop(0), pattern])
    drift = found.per_series.query("model == 'NaiveDrift'")
    assert drift["MASE"].isna().tolist() == [False, True]
    means = found.scores.set_index("model")
    assert means.loc["NaiveDrift", "MASE"] == drift["MASE"].iloc[0]
    assert means.loc["NaiveDrift", "sMAPE"] == pytest.approx(drift["sMAPE"].mean())
    assert means[["series", "failed"]].to_numpy().tolist() == [[2, 0], [2, 0]]
    assert means["note"].tolist() == ["no MASE for 1 of 2 series"] * 2


@pytest.mark.parametrize("name", ["forecast", "time", "model", "0"])
def test_components_have_any_name(name: str, tmp_path: Path) -> None:
    series = [shop(index).with_columns_renamed("sales", name) for index in range(2)]
    found = run(series, out=tmp_path)
    assert found.scores["failed"].tolist() == [0, 0]
    assert set(found.forecasts["component"]) == {name}
    lines = found.plot(series=0).axes[0].lines
    assert [len(line.get_xdata()) for line in lines[1:]] == [6, 2, 6, 2]


def test_models_have_any_name_and_order(tmp_path: Path) -> None:
    series = [shop(index) for index in range(3)]
    models: dict[Any, ForecastingModel] = {"1": NaiveDrift(), "NA": NaiveSeasonal(12)}
    run(series[:2], models, out=tmp_path)
    resumed = run(series, dict(reversed(models.items())), out=tmp_path)
    assert sorted(resumed.scores["model"]) == ["1", "NA"]
    assert resumed.scores["series"].tolist() == [3, 3]
    pd.testing.assert_frame_equal(
        without_seconds(resumed.scores),
        without_seconds(run(series, models).scores),
        check_dtype=False,
    )


def test_the_order_of_names_does_not_matter(several: list[TimeSeries], tmp_path: Path) -> None:
    run(several, NAIVE, out=tmp_path)
    run(several, NAIVE[::-1], out=tmp_path)


def test_series_with_dates_and_with_an_integer_index_are_stored_together(tmp_path: Path) -> None:
    series = {"dates": shop(0), "integers": TimeSeries.from_values(shop(1).values())}
    stored, in_memory = run(series, out=tmp_path), run(series)
    assert stored.forecasts["time"].tolist() == in_memory.forecasts["time"].tolist()
    for name in series:
        assert len(stored.plot(series=name).axes[0].lines) == 5


def test_refuses_equal_series_whose_names_look_the_same() -> None:
    class Name:
        def __repr__(self) -> str:
            return "shop"

    with pytest.raises(ValueError, match="names that look the same"):
        run({Name(): shop(0), Name(): shop(0)})


@pytest.mark.parametrize(
    "models", [NaiveDrift(), 5, "NaiveDrift", {1: NaiveDrift(), "1": NaiveDrift()}]
)
def test_refuses_what_are_not_models(models: Any) -> None:
    with pytest.raises(ValueError, match="`models` must"):
        run([shop(0)], models)


def test_a_model_named_twice_is_evaluated_once() -> None:
    found = run([shop(0), shop(1)[:5]], ["NaiveDrift", "NaiveDrift"])
    assert found.per_series["model"].tolist() == ["NaiveDrift"] * 2


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_on_dask_with_workers_that_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    series = [shop(index) for index in range(8)]  # a chunk each
    for index, deadly in ((3, Once.START), (6, Always.START)):
        values = np.append(deadly, series[index].values()[1:])
        series[index] = series[index].with_values(values[:, None])
    stop_killing = tmp_path / "stop"
    models: dict[str, ForecastingModel] = {
        "once": Once(str(tmp_path / "once")),
        "always": Always(str(stop_killing)),
    }
    out = tmp_path / "out"
    config = {
        "distributed.scheduler.allowed-failures": 0,
        # three workers die: others are forked from a process that has imported Darts
        "distributed.worker.multiprocessing-method": "forkserver",
    }
    with dask.config.set(config):
        distributed.utils.get_mp_context().set_forkserver_preload(
            ["distributed", "darts_lstm_seq.comparison.compare"]
        )
    with (
        dask.config.set(config),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        found = run(series, models, out=out).per_series.set_index("series")
    assert (tmp_path / "once").exists()  # a worker did die
    assert found.loc[6, "error"].str.contains("the worker was lost: KilledWorker").all()
    assert found.drop(6)["error"].isna().all()
    # a repeated call evaluates the series of the lost worker, and no other
    stop_killing.touch()
    fitted = []
    fit = Deadly.fit
    monkeypatch.setattr(
        Deadly,
        "fit",
        lambda self, series, *a, **k: fitted.append(series) or fit(self, series, *a, **k),
    )
    resumed = run(series, models, out=out)
    assert {float(part.first_value()) for part in fitted} == {Always.START}
    assert_same(resumed, run(series, models))


def test_the_command_reads_a_table_in_long_format(
    several: list[TimeSeries], tmp_path: Path, capsys: Any
) -> None:
    frames = [
        several[index].to_dataframe(time_as_index=False).assign(shop=name)
        for name, index in (("west", 0), ("east", 4), ("new", 1))
    ]
    frames[0].loc[3, "sales"] = np.nan
    pd.concat(frames).to_csv(tmp_path / "shops.csv", index=False)
    arguments = ["compare", "shops.csv", "--series", "shop", "--horizon", "6", "--folds", "2"]
    assert main([*arguments, "--models", *NAIVE, "--n-jobs", "2", "--out", "found"]) == 0
    told = capsys.readouterr()
    assert "3 series" in told.out
    assert re.search(r"Naive\w+, Naive\w+: no scores for 1 series: ValueError: `series`", told.err)
    rows = pd.read_csv("found/per_series.csv")
    assert rows["series"].drop_duplicates().tolist() == ["west", "east", "new"]
    assert rows.groupby("series")["error"].count().to_dict() == {"west": 0, "east": 0, "new": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop,day,a\n,2024-01-01,1\n", "names no series"),
        ("shop,day,a\nx,2024-01-01,1\nx,2024-01-01,2\n", "line 3: '2024-01-01' .* is there twice"),
        ("shop,day,a\nx,2024-01-01,1\ny,2024-01-01,2\n", "series 'x': .* frequency"),
        ("store,day,a\nx,2024-01-01,1\n", "no column 'shop'"),
    ],
)
def test_a_bad_long_table_ends_with_one_line(
    tmp_path: Path, capsys: Any, text: str, message: str
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    assert main(["compare", "bad.csv", "--series", "shop"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert pd.Series([line]).str.contains(message).all(), line


@pytest.mark.cluster
class TestRetrainedBacktests:
    """`historical_forecasts` over many series follows `joblib.parallel_config`."""

    def test_workers_find_what_one_process_finds(
        self, several: list[TimeSeries], tiny: dict
    ) -> None:
        series = [several[index] for index in (0, 4, 5)]
        covariates = [target + 1 for target in series]
        model = LSTMSeqModel(12, 3, **tiny | {"dropout": 0.3})
        kwargs = {"past_covariates": covariates, **SCHEDULE}
        here = model.historical_forecasts(series, **kwargs)
        with joblib.parallel_config(n_jobs=2):
            there = model.historical_forecasts(series, **kwargs)
            errors = model.backtest(series, **kwargs)
        assert len(errors) == 3
        for expected, found in zip(here, there, strict=True):
            for forecast, other in zip(expected, found, strict=True):
                assert forecast.time_index.equals(other.time_index)
                np.testing.assert_allclose(forecast.values(), other.values(), rtol=1e-5)

    def test_a_refused_series_has_its_own_index(
        self, several: list[TimeSeries], tiny: dict
    ) -> None:
        model = LSTMSeqModel(12, 3, **tiny)
        series = [several[0], several[4], several[5], several[1]]
        with (
            joblib.parallel_config(n_jobs=2),
            pytest.raises(ValueError, match="at index: 3"),
        ):
            model.historical_forecasts(series, **SCHEDULE)
