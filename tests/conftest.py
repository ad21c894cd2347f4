"""What every test may ask for, and the rule that CI skips neither the browser nor the real model."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

NEVER_SKIPPED_IN_CI = ("browser", "smollm2")


def pytest_configure() -> None:
    """Hear Ctrl-C, and let the processes that tests start hear it: a shell ignores it for what it backgrounds."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Hugging Face folder with a tiny random Llama and its tokenizer. Read it, never write into it."""
    from tests.support.tiny import save_tiny  # here, so that tests without models start quickly

    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-llama", kind="llama")


@pytest.fixture(scope="session")
def tiny_gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Hugging Face folder with a tiny random GPT-2 and its tokenizer. Read it, never write into it."""
    from tests.support.tiny import save_tiny

    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-gpt2", kind="gpt2")


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn the skip of a test that must run there into a failure."""
    report = yield
    required = any(item.get_closest_marker(name) for name in NEVER_SKIPPED_IN_CI)
    if in_ci() and required and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} must run in CI, and was skipped: {reason_of(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI, turn the skip of a whole file into a failure: its markers are never read, so none can excuse it."""
    report = yield
    if in_ci() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} is skipped whole: {reason_of(report)} Skip its tests instead."
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the skips by reason, so that a run without models cannot pass for a run with them."""
    skips = Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", []))
    if skips:
        terminalreporter.section("skipped, by reason")
        for reason, number in skips.most_common():
            terminalreporter.write_line(f"{number:4d}  {reason}")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Give the reason of a skip: the last part of (file, line, reason)."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
