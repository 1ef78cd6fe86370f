"""Names of others in pages, terminals and figures: nothing acts there, and none is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.table import Table

from longsafety.errors import visible
from longsafety.reporting import fonts
from longsafety.reporting.fonts import drawn_names, fonts_for, numbers_note
from longsafety.reporting.page import _environment
from longsafety.reporting.terminal import tables_text, write_tables


def test_what_would_act_unseen_is_written_out() -> None:
    assert visible("a\u202eb\x1b[31m") == "a⟨U+202E⟩b⟨U+001B⟩[31m"
    assert visible("two\nlines\tand 中文 שלום é 👩\u200d🔬") == "two\nlines\tand 中文 שלום é 👩\u200d🔬"
    assert visible("\ud83d").isprintable()


def test_a_page_escapes_shows_and_isolates() -> None:
    page = _environment().from_string("<p>{{ name }}|{{ number }}|{{ kept | safe }}</p>")
    shown = page.render(name="<b>\u202ex</b> שלום עולם v2", number=3, kept="<i>ok</i>")
    assert shown == "<p>&lt;b&gt;⟨U+202E⟩x&lt;/b&gt; \u2068שלום עולם\u2069 v2|3|<i>ok</i></p>"


def test_a_terminal_takes_names_as_they_are(tmp_path: Path) -> None:
    table = Table("arm", title="x[bold]y")
    table.add_row("llama[v1] :smile: [/red]")
    write_tables(tmp_path / "t.txt", table, "[dim]a line[/nope]\u202e")
    text = (tmp_path / "t.txt").read_text("utf-8")
    assert "x[bold]y" in text and "llama[v1] :smile: [/red]" in text and "[dim]a line[/nope]⟨U+202E⟩" in text
    assert tables_text("a" * 10, width=100) == "a" * 10 + "\n"


def test_a_name_without_a_font_is_a_number_that_the_page_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "\U000e1000"  # assigned to nothing, so that no font has it
    names = drawn_names(["base", f"x{odd}", "é"])
    assert names == {"base": "base", f"x{odd}": "#2", "é": "é"}
    assert numbers_note(names).startswith(f"In figures, #2 is x{odd}:") and not numbers_note({"a": "a"})


def test_a_font_that_has_the_letters_is_added() -> None:
    from matplotlib import rcParams
    from matplotlib.font_manager import findfont, get_font

    first = get_font(findfont("DejaVu Sans")).get_charmap()
    other = get_font(findfont("STIXGeneral")).get_charmap()  # shipped with matplotlib, as is the first
    letter = next(chr(code) for code in sorted(other) if code not in first and chr(code).isprintable())
    assert drawn_names([letter]) == {letter: letter}
    before = rcParams["font.family"]
    with fonts_for(["plain", letter]):
        assert rcParams["font.family"][0] == "DejaVu Sans" and len(rcParams["font.family"]) == 2
    assert rcParams["font.family"] == before
    assert fonts.missing("plain") == frozenset()


def test_a_name_that_would_leave_a_figure_no_room_has_a_number() -> None:
    long, other = "long_" * 15, "\U000f0000" * 70
    names = drawn_names(["base", long, other, "x" * 56])
    assert list(names.values()) == ["base", "#2", "#3", "x" * 56]
    foreign, lengthy = numbers_note(names).split(" In figures, ")
    assert f"#3 is {other}: no font" in foreign and f"#2 is {long}: a name of more than 56 letters" in lengthy
