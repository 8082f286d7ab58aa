"""Results on disk: kills between any two writes, damaged bytes, any text, several processes."""

import csv
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import LinearRegressionModel, NaiveDrift, NaiveSeasonal
from hypothesis import example, given, settings
from hypothesis import strategies as st

from darts_lstm_seq import Comparison, compare
from darts_lstm_seq.comparison.evaluation import Evaluation, Task
from darts_lstm_seq.comparison.results_folder import ResultsFolder

TABLES = ("scores.csv", "per_series.csv", "forecasts.csv")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def walk(seed: int, length: int = 30) -> TimeSeries:
    return TimeSeries.from_values(np.random.default_rng(seed).normal(size=length).cumsum())


def run(series: Any, models: Any = ("NaiveDrift",), **kwargs: Any) -> Comparison:
    return compare(series, 3, models, folds=2, show_progress=False, **kwargs)


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


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def parts_of(folder: Path) -> list[Path]:
    return sorted((folder / "parts").glob("*.json"))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The first values of the series that `NaiveDrift` is fitted to from now on."""
    values: list[float] = []
    fit = NaiveDrift.fit

    def record(self: NaiveDrift, series: TimeSeries, *args: Any, **kwargs: Any) -> Any:
        values.append(float(series.first_value()))
        return fit(self, series, *args, **kwargs)

    monkeypatch.setattr(NaiveDrift, "fit", record)
    return values


def exit_at_write(number: int, folder: Path) -> None:
    """End this process, as a kill would, before it changes a folder for the n-th time."""
    remaining = iter(range(number))

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            return
        is_inside = str(arguments[0]).startswith(str(folder))
        writes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if is_inside and writes and next(remaining, None) is None:
            os._exit(9)

    sys.addaudithook(audit)


@forks
@pytest.mark.slow
def test_a_kill_between_any_two_writes_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = [walk(seed) for seed in range(3)]
    # each series is evaluated once: the seconds of all tables agree, and the test is fast
    found: dict[tuple[str, ...], Any] = {}
    evaluate = Evaluation.run

    def run_once(self: Evaluation, task: Task) -> Any:
        key = (task.model, *task.inputs)
        if key not in found:
            found[key] = evaluate(self, task)
        return found[key]

    monkeypatch.setattr(Evaluation, "run", run_once)
    run(series, out=tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    kills, code = 0, 9
    while code == 9:
        out = tmp_path / str(kills)
        if (process := os.fork()) == 0:
            exit_at_write(kills, out)
            run(series, out=out)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        run(series, out=out)
        written = contents(out)
        for name in (*TABLES, "settings.json"):
            assert written[name] == expected[name], (kills, name)
        kills += 1
    assert code == 0
    assert kills > 30


def test_a_part_with_any_changed_byte_is_ignored(tmp_path: Path) -> None:
    run([walk(0)], out=tmp_path)
    (part,) = parts_of(tmp_path)
    content = part.read_bytes()
    damaged = [content[:length] for length in range(0, len(content), 7)]
    for index in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[index] ^= 1 << index % 8
        damaged.append(bytes(flipped))
    damaged += [content + b"\n", b"\0" * len(content), b"\xff garbage", content[::-1]]
    settings = json.loads((tmp_path / "settings.json").read_text())
    for changed in damaged:
        part.write_bytes(changed)
        folder = ResultsFolder(tmp_path)
        folder.open(settings)
        assert folder.scores(["any"]).empty
        assert not folder._scores


@pytest.mark.parametrize("damage", [b"", b"\n", b"\x00\xffgarbage", b"{}\n{}", None])
def test_damaged_parts_are_evaluated_again(
    damage: bytes | None, tmp_path: Path, fitted: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    series = [walk(seed) for seed in range(3)]
    before = run(series, out=tmp_path)
    assert len(before.forecasts) == 18
    fitted.clear()
    part = parts_of(tmp_path)[0]
    if damage is None:
        part.unlink()
    else:
        part.write_bytes(damage)
    assert_same(run(series, out=tmp_path), before)
    assert len(set(fitted)) == 1
    assert (part.name in caplog.text) == (damage is not None)


def test_parts_that_vanish_before_the_forecasts_are_read_are_missed(tmp_path: Path) -> None:
    found = run([walk(0), walk(1)], out=tmp_path)
    parts_of(tmp_path)[1].unlink()
    with pytest.raises(ValueError, match=r"parts.*json was removed or damaged.*Repeat the comp"):
        found.forecasts  # noqa: B018


def test_an_interrupted_run_is_resumed(
    tmp_path: Path, fitted: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    series = [walk(seed) for seed in range(7)]
    expected = run(series)
    fit = NaiveDrift.fit

    def stop(self: NaiveDrift, training: TimeSeries, *args: Any, **kwargs: Any) -> Any:
        if training.first_value() == series[5].first_value():
            raise KeyboardInterrupt
        return fit(self, training, *args, **kwargs)

    monkeypatch.setattr(NaiveDrift, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        run(series, out=tmp_path)
    monkeypatch.setattr(NaiveDrift, "fit", fit)
    assert parts_of(tmp_path)
    fitted.clear()
    assert_same(run(series, out=tmp_path), expected)
    assert 0 < len(set(fitted)) < 7


def test_first_and_resumed_tables_are_the_same_bytes(tmp_path: Path) -> None:
    index = pd.date_range("2020-01-01", periods=30, freq="h")
    series = {
        "dates": TimeSeries.from_times_and_values(index, walk(1).values()),
        "integers": walk(2),
        "short": walk(3, 5),
        "days": TimeSeries.from_times_and_values(
            index.normalize()[:1].union(pd.date_range("2020-01-02", periods=29)), walk(4).values()
        ),
    }
    models = {"drift": NaiveDrift(), "naive": NaiveSeasonal(2), "bad": LinearRegressionModel(90)}
    first = run(series, models, out=tmp_path)
    written = contents(tmp_path)
    resumed = run(series, models, out=tmp_path)
    changed = {name for name, content in contents(tmp_path).items() if content != written[name]}
    assert changed <= {".in_use_since.txt"}
    for name in ("scores", "per_series", "forecasts"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(resumed, name))
    assert_same(resumed, run(series, models))


def test_the_files_hold_the_result(tmp_path: Path) -> None:
    series = {name: walk(seed) for seed, name in enumerate("gfedcba")}
    found = run(series, out=tmp_path)
    for name in ("scores", "per_series", "forecasts"):
        file = tmp_path / f"{name}.csv"
        table = pd.read_csv(file, float_precision="round_trip", dtype={"component": str})
        expected = getattr(found, name).fillna(np.nan)  # `None` if a column has nothing else
        pd.testing.assert_frame_equal(table, expected, check_dtype=False, check_column_type=False)


def test_refuses_a_folder_of_other_settings(tmp_path: Path) -> None:
    run([walk(0)], out=tmp_path)
    with pytest.raises(ValueError, match=r"holds the results .* with models = .*Drift.* Name an"):
        run([walk(0)], ["NaiveSeasonal"], out=tmp_path)
    with pytest.raises(ValueError, match=r"with folds = 2, not 1"):
        compare([walk(0)], 3, ["NaiveDrift"], folds=1, show_progress=False, out=tmp_path)
    assert json.loads((tmp_path / "settings.json").read_text())["horizon"] == 3


def test_refuses_results_of_another_parameter_and_names_it(tmp_path: Path) -> None:
    run([walk(0)], {"m": NaiveSeasonal(2)}, out=tmp_path)
    with pytest.raises(ValueError, match=r"models\['m'\]\.K = 2, not 3"):
        run([walk(0)], {"m": NaiveSeasonal(3)}, out=tmp_path)


@pytest.mark.parametrize("text", ["", "5", "{", "[]", "[" * 100000, "\ud800", None])
def test_refuses_a_folder_whose_settings_are_damaged(text: str | None, tmp_path: Path) -> None:
    run([walk(0)], out=tmp_path)
    file = tmp_path / "settings.json"
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"settings\.json is damaged|holds the results"):
        run([walk(0)], out=tmp_path)


CORNERS = ["a\rb", "\r", "a\nb", 'q"u', "a,b", "n\0l", "\ud800", "", "NA", "1", "x" * 5000, "=1+1"]


@settings(max_examples=10)
@pd.option_context("mode.string_storage", "python")  # as in `compare`
@given(st.lists(st.text(st.characters(exclude_categories=[])), min_size=3, max_size=3))
@example(["a\rb", "\r", "\r\n"])
@example(['q"u', "n\0l", "\ud800"])
@example(["", "NA", "x" * 5000])
@example(["a\0b", "\0", ""])
@example(["=1+1", "@SUM(1)", "\t=1"])
def test_any_text_survives(texts: list[str]) -> None:
    import tempfile

    columns = ["series", "model", "error"]
    scores = pd.DataFrame([["key", texts[0], texts[1]]] * 2, columns=columns, dtype=object)
    scores["model"] = [texts[0], texts[0] + "2"]
    forecasts = pd.DataFrame(
        {"time": [1, 2], "component": [texts[2], "b"], "forecast": [0.1, np.nan], "series": "key"}
    ).assign(model=texts[0])
    with tempfile.TemporaryDirectory() as path:
        folder = ResultsFolder(path)
        with folder.in_use():
            folder.open({})
            folder.add(scores, forecasts)
        again = ResultsFolder(path)
        again.open({})
        assert again.scores(["key"]).to_dict("list") == scores.to_dict("list")
        (read,) = again.forecasts(["key"])
        assert read["component"].tolist() == forecasts["component"].tolist()
        again.write_tables({"scores.csv": again.scores(["key"])})
        with open(Path(path) / "scores.csv", encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
    assert header == columns
    assert len(rows) == 2
    for cell, text in zip(rows[0][1:], texts[:2], strict=True):
        shown = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
        assert cell in (shown, f"'{shown}")
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("text", CORNERS)
def test_names_errors_and_components_have_any_text(text: str, tmp_path: Path) -> None:
    class Failing(NaiveDrift):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError(text)

    with pd.option_context("mode.string_storage", "python"):  # for what Darts makes of names
        series = {text: walk(0).with_columns_renamed("0", text or "c"), "other": walk(1)}
    # pandas groups two texts that are equal up to a NUL
    models = {text: NaiveDrift(), f"{text}\0": Failing()}
    for _ in range(2):
        found = run(series, models, out=tmp_path)
        assert found.per_series["series"].tolist() == [text, text, "other", "other"]
        assert found.per_series["model"].tolist() == list(models) * 2
        assert found.per_series["error"].tolist()[1] == f"RuntimeError: {text}"
        assert len(found.forecasts) == 12
        assert set(found.forecasts["component"]) == {text or "c", "0"}
        assert found.scores["model"].tolist() == list(models)
        assert found.scores["failed"].tolist() == [0, 2]
        for name in ("per_series", "forecasts"):
            shown = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)
            assert len(shown) == len(getattr(found, name))


NAMES = [
    {1: 0, None: 1},
    {(1, 2): 0, 1.5: 1, None: 2},
    {True: 0, "True": 1, (("a",), 2): 2},
    {-1: 0, np.int64(3): 1, pd.Timestamp("2020"): 2},
]


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("stored", [False, True])
def test_names_come_back_as_given(
    names: dict[Any, int], stored: bool, tmp_path: Path, fitted: list[float]
) -> None:
    series = {name: walk(seed) for name, seed in names.items()}
    for start in range(2):
        found = run(series, out=tmp_path if stored else None)
        for table, count in ((found.per_series, 1), (found.forecasts, 6)):
            given_back = table["series"].tolist()
            assert given_back == [name for name in names for _ in range(count)]
            assert list(map(type, given_back)) == [type(n) for n in names for _ in range(count)]
        for name in names:
            assert len(found.plot(series=name).axes[0].lines) == 5
        if start == 1:
            assert bool(fitted) != stored
        fitted.clear()
    if stored:
        shown = pd.read_csv(tmp_path / "per_series.csv", dtype=str, keep_default_na=False)
        assert shown["series"].tolist() == list(map(str, names))


def test_names_are_checked_before_the_work(tmp_path: Path, fitted: list[float]) -> None:
    with pytest.raises(ValueError, match=r"Name it by a string or a number"):
        run({"a": walk(0), object(): walk(1)}, out=tmp_path)
    assert not fitted


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[int]:
    """The id of a process that uses the folder `out`."""
    reader, writer = os.pipe()
    if (process := os.fork()) == 0:
        with ResultsFolder(tmp_path / "out").in_use():
            os.write(writer, b"1")
            signal.pause()
    os.read(reader, 1)
    yield process
    os.close(reader)
    os.close(writer)


@forks
def test_a_folder_in_use_is_refused_until_its_process_ends(
    tmp_path: Path, other_process: int, fitted: list[float]
) -> None:
    with pytest.raises(ValueError, match=rf"in use since 20\d\d.* by process {other_process} on"):
        run([walk(0)], out=tmp_path / "out")
    assert not fitted
    os.kill(other_process, signal.SIGKILL)
    os.waitpid(other_process, 0)
    assert len(run([walk(0)], out=tmp_path / "out").per_series) == 1


@forks
@pytest.mark.parametrize("write", [0, 1, 2, 5, 6, 8])
def test_temporary_folders_of_a_killed_process_are_removed(write: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if (process := os.fork()) == 0:
        remaining = iter(range(write))

        def exit_before_a_move(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "os.rename" and next(remaining, None) is None:
                os._exit(9)

        sys.addaudithook(exit_before_a_move)
        run([walk(seed) for seed in range(12)], out=out)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    assert list(out.rglob(".darts_lstm_seq-*"))
    run([walk(seed) for seed in range(12)], out=out)
    assert not list(out.rglob(".darts_lstm_seq-*"))


@forks
def test_of_two_processes_each_ends_well_or_is_refused(tmp_path: Path) -> None:
    series = [walk(seed) for seed in range(4)]
    processes = []
    for _ in range(4):
        if (process := os.fork()) == 0:
            try:
                found = run(series, out=tmp_path / "out")
                os._exit(0 if len(found.forecasts) == 24 else 1)
            except ValueError as error:
                os._exit(2 if "in use" in str(error) else 3)
            except BaseException:
                os._exit(4)
        processes.append(process)
    codes = {os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes}
    assert 0 in codes
    assert codes <= {0, 2}
    assert_same(run(series, out=tmp_path / "out"), run(series))


def test_finished_results_are_read_from_a_read_only_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitted: list[float]
) -> None:
    series = [walk(seed) for seed in range(3)]
    before = run(series[:2], out=tmp_path)
    written, times = contents(tmp_path), {path: path.stat() for path in tmp_path.rglob("*")}
    # not by its mode: the user of the tests may be root, who may write anywhere
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    fitted.clear()
    assert_same(run(series[:2], out=tmp_path), before)
    with pytest.raises(ValueError, match=r"read-only and lacks the results of 1 series, 2 being"):
        run(series, out=tmp_path)
    assert not fitted
    assert contents(tmp_path) == written
    assert {path: path.stat() for path in tmp_path.rglob("*")}.keys() == times.keys()
    assert all(path.stat().st_mtime_ns == stat.st_mtime_ns for path, stat in times.items())
