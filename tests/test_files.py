"""Atomic writes: what a reader of the folder finds during, after and instead of a write."""

import os
import stat
from pathlib import Path

import pytest

from darts_lstm_seq.files import atomic_write


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.name == path.name
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["scores.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("old")

    def fail_halfway() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.csv"]


def test_companions_are_moved_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda source, target: (moved.append(target), replace(source, target))
    )
    path = tmp_path / "model.pt"
    with atomic_write(str(path), companions=[".ckpt", ".absent"]) as temporary:
        temporary.write_text("model")
        Path(f"{temporary}.ckpt").write_text("network")
    assert moved == [f"{path}.ckpt", str(path)]
    assert path.read_text() == "model"
    assert Path(f"{path}.ckpt").read_text() == "network"
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "model.pt.ckpt"]


def test_two_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with atomic_write(path) as first, atomic_write(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # whose block ends last


def test_file_data_is_on_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (calls.append("fsync"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    with atomic_write(tmp_path / "scores.csv") as temporary:
        temporary.write_text("rows")
    assert calls == ["fsync", "replace"]


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    with atomic_write(tmp_path / "atomic") as temporary:
        temporary.touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "atomic")]
    assert modes[0] == modes[1]


def test_refuses_a_missing_folder_and_a_block_that_wrote_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "scores.csv"):
        pass
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "scores.csv"):
        pass
    assert not os.listdir(tmp_path)
