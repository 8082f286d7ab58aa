"""Atomic writes: what a reader of the folder finds during, after and instead of a write.

Archives: a changed bit is found, and nothing larger than the file is unpacked.
"""

import copy
import os
import pickle
import platform
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from darts_lstm_seq.files import (
    atomic_write,
    check_archive,
    read_json,
    remove_leftovers,
    write_json,
)


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


def test_companions_of_an_earlier_file_do_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for name in ("model.pt", "model.pt.ckpt", "model.pt.other"):
        (tmp_path / name).write_text("old")
    with atomic_write(path, companions=[".ckpt"]) as temporary:
        temporary.write_text("new")
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "model.pt.other"]


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
    with atomic_write(tmp_path / "model.pt", companions=[".ckpt"]) as temporary:
        temporary.write_text("model")
        Path(f"{temporary}.ckpt").write_text("network")
    assert calls == ["fsync", "fsync", "replace", "replace"]


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


# --- leftovers -----------------------------------------------------------------------------------


def test_only_the_folders_of_killed_writers_are_removed(tmp_path: Path) -> None:
    code = f"""
import os
from darts_lstm_seq.files import atomic_write
with atomic_write({str(tmp_path / "scores.csv")!r}) as temporary:
    temporary.write_text("half")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    (killed,) = os.listdir(tmp_path)
    here, dead = platform.node(), killed.split("-")[1]
    elsewhere = [f".darts_lstm_seq-{dead}-not-{here}-{name}" for name in ("recent", "old")]
    unrelated = [".scores.csv.abcd", ".darts_lstm_seq-notes", f"darts_lstm_seq-{dead}-{here}-mine"]
    for name in elsewhere + unrelated:
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0) if name != elsewhere[0] else None)
    with atomic_write(tmp_path / "scores.csv") as temporary:  # this process is alive
        temporary.write_text("rows")
        remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([elsewhere[0], "scores.csv", *unrelated])


# --- archives ------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({f"w{k}": torch.full((2**k,), float(k)) for k in range(12)}, path)
    return path


def test_an_archive_of_torch_is_accepted(archive: Path) -> None:
    check_archive(archive)
    check_archive(str(archive))


def test_no_flipped_bit_changes_what_is_read(archive: Path) -> None:
    content, expected = archive.read_bytes(), torch.load(archive)
    rng = np.random.default_rng(0)
    # in the contents, and, where most flips have no effect, in the directory behind them
    places = [*rng.integers(0, len(content), 300), *rng.integers(-1600, 0, 300)]
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        archive.write_bytes(damaged)
        try:
            check_archive(archive)
            found = torch.load(archive)
        except (ValueError, RuntimeError, pickle.UnpicklingError):
            refused += 1
        else:
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in found)
    assert 200 < refused < len(places)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_archive_is_refused(kept: float, archive: Path) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"weights\.pt` is damaged"):
        check_archive(archive)


def test_nothing_larger_than_the_file_is_unpacked(tmp_path: Path) -> None:
    compressed, overlapping = tmp_path / "compressed.pt", tmp_path / "overlapping.pt"
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(10**6))
    with pytest.raises(ValueError, match="compressed"):
        check_archive(compressed)
    with zipfile.ZipFile(overlapping, "w") as file:
        file.writestr("zeros", bytes(10**6))
        for number in range(9):
            entry = copy.copy(file.filelist[0])
            entry.filename = f"zeros{number}"
            file.filelist.append(entry)
    with pytest.raises(ValueError, match="larger than the file"):
        check_archive(overlapping)


def test_no_tensor_is_marked_as_a_folder(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    # the attributes, 8 bytes before the name in the archive's directory
    content[content.rindex(b"weights/data/3") - 8] ^= 0x10
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="marked as folders"):
        check_archive(archive)


def test_a_missing_archive_stays_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        check_archive(tmp_path / "nowhere.pt")


def test_no_flipped_bit_changes_what_json_holds(tmp_path: Path) -> None:
    path = tmp_path / "options.json"
    value = {"b": [1, 2.5, None, True], "a": {"text": "\ud800\0é"}}
    write_json(path, value)
    assert read_json(path) == value
    content = path.read_bytes()
    refused = 0
    for index in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[index // 8] ^= 1 << index % 8
        path.write_bytes(flipped)
        try:
            assert read_json(path) == value  # white space
        except ValueError:
            refused += 1
    assert refused > 7 * len(content)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"5", b"null", b"{}", b"[" * 100000, b"\xff", None]
)
def test_what_is_no_json_with_a_checksum_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "options.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"options\.json` cannot be read, or is damaged or changed"
    ):
        read_json(path)
