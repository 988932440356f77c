"""Tables and progress."""

from __future__ import annotations

import io
import sys

import pytest

from inception_fast.cli.progress import progress
from inception_fast.cli.table import render_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_table_aligns_words_left_and_numbers_right() -> None:
    text = render_table(("model", "ms", "ratio"), [("googlenet", "1.5", "1.25x"), ("v3", "12.25", None)])
    assert text.splitlines() == [
        "model         ms  ratio",
        "---------  -----  -----",
        "googlenet    1.5  1.25x",
        "v3         12.25      -",
    ]


def test_table_without_rows_is_its_header() -> None:
    assert render_table(("a", "bc"), []).splitlines() == ["a  bc", "-  --"]


def test_table_refuses_a_row_of_another_length() -> None:
    with pytest.raises(ValueError):
        render_table(("a", "b"), [("1",)])


def test_progress_is_silent_where_stderr_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([1, 2, 3], "runs")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_progress_draws_on_a_terminal_and_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress([1, 2], "runs")) == [1, 2]
    drawn = terminal.getvalue()
    assert "0/2" in drawn and "1/2" in drawn and "2/2" in drawn
    assert drawn.endswith("\r\x1b[K")


def test_progress_counts_what_has_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress(iter("abc"), "runs")) == ["a", "b", "c"]
    assert "runs 3" in terminal.getvalue()


def test_progress_cleans_up_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(RuntimeError):
        for item in progress([1, 2]):
            raise RuntimeError(item)
    assert terminal.getvalue().endswith("\r\x1b[K")
