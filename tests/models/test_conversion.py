"""A GGUF file is converted once, whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from expound.errors import ModelRefused
from expound.models.conversion import cache_folder, converted, hash_once
from expound.models.loading import load
from tests.support.tiny import tiny_llama, tiny_tokenizer
from tests.support.tiny_gguf import save_tiny_gguf

ROW = torch.tensor([[5, 9, 300, 77]])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPOUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.mark.usefixtures("cache")
def test_what_comes_out_is_the_model_that_went_in(source: Path) -> None:
    said: list[str] = []
    loaded = load(str(source), say=said.append)
    with torch.no_grad():
        assert torch.equal(loaded.model(ROW).logits, tiny_llama()(ROW).logits)
    text = "Why did the bread not rise? 河水"
    assert loaded.tokenizer.encode(text) == tiny_tokenizer().encode(text)
    assert loaded.end_tokens == (0,)
    assert len(said) == 1
    again = load(str(source), say=said.append)
    assert len(said) == 1, "the cache is used the second time"
    assert again.identity == loaded.identity


def test_a_conversion_that_lost_a_file_is_made_again(source: Path, cache: Path) -> None:
    said: list[str] = []
    folder = converted(source, said.append)
    assert folder.parent == cache / "models"
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-9])
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text())
    assert converted(source, said.append) == folder
    assert (folder / "model.safetensors").read_bytes() == whole
    for spoilt in ("[]", '{"format": 0}'):
        (folder / "manifest.json").write_text(spoilt)
        converted(source, said.append)
    assert len(said) == 4


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("kept", [2, 40, 3000, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_refused(kept: float, source: Path, tmp_path: Path) -> None:
    whole = source.read_bytes()
    short = tmp_path / "short.gguf"
    short.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    with pytest.raises(ModelRefused, match=r"short.gguf is cut short or is no GGUF file"):
        load(str(short))
    assert not list((cache_folder() / "models").glob("*"))


def _convert(source: str, cache: str) -> None:
    os.environ["EXPOUND_CACHE"] = cache
    converted(Path(source), lambda _line: None)


@pytest.mark.slow
def test_a_kill_half_way_leaves_nothing_that_is_used(source: Path, cache: Path) -> None:
    killed = multiprocessing.get_context("spawn").Process(target=_convert, args=(str(source), str(cache)))
    killed.start()
    models, deadline = cache / "models", time.monotonic() + 60
    while not list(models.glob(".staging-*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert [path.name.startswith(".staging-") for path in models.iterdir()] == [True]
    with torch.no_grad():
        assert torch.equal(load(str(source)).model(ROW).logits, tiny_llama()(ROW).logits)


def test_two_at_once_both_succeed_and_one_folder_stays(source: Path, cache: Path) -> None:
    """The second begins while the first is converting: the first says so after it found nothing in the cache."""
    folders: list[Path] = []

    def convert_too(_line: str) -> None:
        folders.append(converted(source, lambda _line: None))

    folders.append(converted(source, convert_too))
    assert folders[0] == folders[1]
    assert list((cache / "models").iterdir()) == [folders[0]]


def test_two_at_once_that_find_a_damaged_folder_keep_the_first_whole_one(source: Path, cache: Path) -> None:
    """Else the second would take away the weights from which somebody loads."""
    weights = converted(source, lambda _line: None) / "model.safetensors"
    weights.write_bytes(b"short")
    first: list[int] = []

    def convert_too(_line: str) -> None:
        converted(source, lambda _line: None)
        first.append(weights.stat().st_ino)

    converted(source, convert_too)
    assert first == [weights.stat().st_ino]


def test_a_file_is_hashed_once(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"one")
    first = hash_once(path)
    note = next((cache / "hashes").iterdir())
    note.write_text("remembered")
    assert hash_once(path) == "remembered"
    path.write_bytes(b"another")
    assert hash_once(path) not in (first, "remembered")
    assert hash_once(Path(shutil.copy(path, tmp_path / "copy"))) == hash_once(path)


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EXPOUND_CACHE")
    assert cache_folder().name == "expound"
    monkeypatch.setenv("EXPOUND_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.usefixtures("cache")
def test_a_gguf_of_an_architecture_that_nobody_reads(source: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(source.read_bytes().replace(b"llama", b"lllla"))
    with pytest.raises(ModelRefused, match=r"transformers cannot read .*strange.gguf"):
        load(str(strange))
