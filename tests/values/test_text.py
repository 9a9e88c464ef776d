"""Foreign text is harmless wherever it goes, keys and URLs do not get through, and words have one form."""

from __future__ import annotations

import base64
import html
import json
import re
import subprocess
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from auditor.values import text as texts
from auditor.values.text import (
    count,
    duration,
    for_detail,
    for_json,
    for_log,
    for_markdown,
    for_markdown_code,
    for_shell,
    for_slack,
    for_terminal,
    lines_for_log,
    listed,
    listed_within,
    masked,
    one_line,
    stored_time,
)

words = st.text(st.characters(categories=["Ll"], max_codepoint=127), max_size=10)
keys = st.binary(min_size=32, max_size=32).map(lambda raw: base64.b64encode(raw).decode())
# Every code point there is, lone surrogates included, and more often than by chance those that deceive.
DECEIVING = (
    "\x00\x1b\x9b\n\t\u00a0\u00ad\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b\u180e\u2003\u200b\u200d\u2028\u202e"
    "\u2066\u2065\u2800\u3000\u3164\ufe0f\ufeff\uffa0\ufff0\udc80\ue000\U000e0001\U000e0100\U000e0fff\U000f0000"
    " \\\"'`&<>%$-.~\u0301"
)
foreign = st.text(st.characters(exclude_categories=()) | st.sampled_from(DECEIVING), max_size=30)


def is_harmless(shown: str) -> bool:
    """Written down from the rule, apart from the code: nothing acts, hides, moves, or passes for a blank."""
    return (
        shown.isprintable()  # neither controls, formats, separators, surrogates, private use nor unassigned
        and shown == shown.strip()
        and not re.search(
            "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]",
            shown,
        )
        and all(unicodedata.category(one) != "Zs" or one == " " for one in shown)
    )


@pytest.mark.parametrize(
    "made",
    [
        for_terminal,
        lambda text: for_terminal(text, most=10),
        lambda text: for_terminal(text, ascii_only=True),
        for_log,
        lambda text: for_log(text, most=10),
        one_line,
        for_detail,
        lambda text: for_slack(text, most=10),
    ],
)
@given(foreign)
def test_what_is_shown_is_harmless_whatever_it_was(made: Callable[[str], str], text: str) -> None:
    assert is_harmless(made(text))


@pytest.mark.parametrize(
    "character", [one for one in DECEIVING if not one.isascii() or not one.isprintable()]
)
def test_each_deceiving_character_is_shown_as_its_escape(character: str) -> None:
    assert re.fullmatch(r"a\\(x..|u....|U.{8})b", for_log(f"a{character}b")) or character == "\u0301"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("edge-sin-1", "edge-sin-1"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\r", "a\\x0ab\\x09c\\x0d"),
        ("\u202egnp", "\\u202egnp"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\udc80", "\\udc80"),
        ("\x9b31m", "\\x9b31m"),
        ("back\\x1b", "back\\\\x1b"),
        ("\U000e0041", "\\U000e0041"),
        ("名前", "名前"),
        ("é", "é"),
    ],
)
def test_what_could_fool_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    """A name can neither colour, move, reorder nor hide anything, nor pretend to be an escape."""
    assert for_terminal(text) == shown


@given(foreign)
def test_ascii_layout_leaves_ascii_only(text: str) -> None:
    """A stream that knows no Unicode can take every line."""
    assert for_terminal(text, ascii_only=True).isascii()


@given(foreign, foreign)
def test_two_different_texts_are_shown_differently(one: str, other: str) -> None:
    """Escaping loses nothing, so that two nodes cannot be taken for one."""
    assert (for_terminal(one, most=10_000) == for_terminal(other, most=10_000)) == (one == other)


def test_a_long_text_is_cut_with_an_ellipsis_and_never_inside_an_escape() -> None:
    """Bounded, and the cut is to be seen."""
    assert for_terminal("\x1b" * 100, most=10) == "\\x1b\\x1b…"


def test_a_run_of_combining_marks_cannot_pile_up_over_other_lines() -> None:
    """Two marks make a letter; the rest is shown as escapes."""
    assert for_terminal("e" + "\u0301" * 4) == "e\u0301\u0301\\u0301\\u0301"


def test_letters_of_any_script_and_inner_blanks_are_left_as_they_are() -> None:
    text = "knoten-münchen 名前 хост नमस्ते"
    assert for_terminal(text) == for_log(text) == for_detail(text) == text


def test_blanks_at_the_edges_are_to_be_seen() -> None:
    assert for_terminal(" a b  ") == "\\x20a b\\x20\\x20"


def test_a_traceback_keeps_its_lines_and_their_indentation() -> None:
    assert lines_for_log("a\n  b\x1b\n\n c ") == "a\n  b\\x1b\n\n c"


def test_a_list_of_so_many_characters_counts_what_does_not_fit() -> None:
    assert listed_within(["aaaa", "bbbb", "cccc"], 15) == "aaaa and 2 more"
    assert listed_within(["aaaa", "bbbb", "cccc"], 16) == "aaaa, bbbb, cccc"
    assert listed_within(["a" * 50, "b"], 20) == "2, too many to name here"


@given(foreign)
@example(" \U0001d400")
def test_text_may_pass_through_two_logs(text: str) -> None:
    assert for_log(for_log(text)) == for_log(text)


@given(foreign)
def test_a_detail_is_not_escaped_again_on_its_way_out(text: str) -> None:
    assert for_log(for_detail(text)) == for_detail(text)


def test_what_was_said_in_several_lines_is_one_line() -> None:
    assert one_line("  no\r\n\tsuch\u2028thing \x1b[0m\n") == "no such thing \\x1b[0m"


@given(foreign)
def test_every_json_reader_takes_the_text_and_what_is_text_is_unchanged(text: str) -> None:
    made = for_json(text)
    assert json.loads(json.dumps(made).encode()) == made.encode().decode()
    assert made == text or any(unicodedata.category(one) == "Cs" for one in text)


@given(foreign, st.integers(2, 60))
def test_slack_is_told_no_markup_and_no_more_than_it_takes(text: str, most: int) -> None:
    made = for_slack(text, most=most)
    assert len(made) <= most
    assert not set(re.sub("&(amp|lt|gt);", "", made)) & set("&<>`")


def shell_says(word: str) -> bytes:
    """What `sh` makes of a word."""
    return subprocess.run(
        ["sh", "-c", f"printf %s {word}"], check=True, capture_output=True, timeout=10
    ).stdout


@settings(max_examples=40, deadline=None)
@given(foreign)
def test_a_shell_reads_the_word_back_byte_by_byte_and_the_word_is_harmless(text: str) -> None:
    try:
        word = for_shell(text)
    except ValueError:
        assert "\0" in text or text.endswith("\n") or any(unicodedata.category(one) == "Cs" for one in text)
        return
    assert is_harmless(word)
    assert shell_says(word) == text.encode("utf-8", "surrogateescape")


def test_a_file_name_of_undecodable_bytes_is_a_shell_word_too() -> None:
    assert shell_says(for_shell("a\udcff'%b")) == b"a\xff'%b"


@given(words, keys, words)
def test_no_key_gets_through(before: str, key: str, after: str) -> None:
    assert key not in masked(f"{before} {key} {after}")


@given(keys, st.integers(12, 43))
def test_the_beginning_of_a_key_at_a_cut_does_not_get_through(key: str, kept: int) -> None:
    assert key[:12] not in masked(f"Key is not valid: {key[:kept]}", cut=True)


def test_a_url_does_not_get_through() -> None:
    assert masked("to https://hooks.example.net/services/T0/B0/x failed") == "to [url] failed"


def test_plain_words_and_paths_get_through() -> None:
    text = "Unable to access interface: No such device (/usr/bin/wg)"
    assert masked(text) == text


def test_counts_have_their_plural_and_thousands() -> None:
    told = [count(1, "gap"), count(0, "gap"), count(12_000, "node"), count(2, "registry", "registries")]
    assert told == ["1 gap", "0 gaps", "12,000 nodes", "2 registries"]


@pytest.mark.parametrize(
    ("names", "total", "shown"),
    [
        ("", 0, ""),
        ("a", 0, "a"),
        ("ab", 0, "a and b"),
        ("abc", 0, "a, b and c"),
        ("abcd", 0, "a, b, c and 1 more"),
        ("abc", 1200, "a, b, c and 1,197 more"),
        ("ab", 3, "a, b and 1 more"),
        ("", 7, "7"),
    ],
)
def test_lists_end_with_how_many_more_there_are(names: str, total: int, shown: str) -> None:
    assert listed(names, most=3, total=total) == shown


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (3.21, "3.2 s"), (45, "45 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_an_estimate_is_in_whole_seconds() -> None:
    assert duration(3.21, whole=True) == "3 s"


@given(st.lists(st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-7)))), max_size=5))
def test_stored_times_sort_as_the_times_do(times: list[datetime]) -> None:
    assert sorted(map(stored_time, times)) == [stored_time(at) for at in sorted(times)]


# -- names that look alike


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u0435dge-sin-1", "\\u0435dge-sin-1"),
        ("edge-\u0455\u0456n-1", "edge-\\u0455\\u0456n-1"),
        ("\u03bfps.example", "\\u03bfps.example"),
        ("edge-\uff53in-1", "edge-\\uff53in-1"),
        ("\U0001d41eedge", "\\U0001d41eedge"),
        ("\u0430\u03bf", "\\u0430\\u03bf"),
        ("nodes/\u0435dge and \u0443\u0437\u0435\u043b", "nodes/\\u0435dge and \u0443\u0437\u0435\u043b"),
    ],
)
def test_letters_of_another_script_within_one_name_are_shown_as_escapes(text: str, shown: str) -> None:
    assert for_terminal(text.replace("\\", "")) == shown
    assert for_log(for_log(text)) == shown
    assert texts.for_slack(text, most=200) == shown


@pytest.mark.parametrize(
    "text",
    [
        "\u0443\u0437\u0435\u043b-1",
        "\u03ba\u03cc\u03bc\u03b2\u03bf\u03c2",
        "\u6771\u4eac-sin-1",
        "k\u00f6ln-1",
        "10 \u00b5s",
        "\u0443\u0437\u0435\u043b@dc1",
    ],
)
def test_a_name_of_one_script_stays_readable(text: str) -> None:
    assert for_terminal(text) == text


@pytest.mark.parametrize("text", ["root:word@198.18.0.12", "ssh host root:word@[fd00::1]:22 is no host"])
def test_a_password_before_a_host_is_masked(text: str) -> None:
    assert "word" not in masked(text)
    assert "[login]@" in masked(text)


@given(foreign)
@example(
    "<img src=x> ![a](https://e.example/x) [b](c) *d* _e_ ~~f~~ `g` | www.example.net @all #17 &amp; $x$"
)
def test_foreign_text_in_markdown_shows_as_text_and_links_nowhere(text: str) -> None:
    """As a reader of CommonMark renders it: plain words, and code spans for all others."""
    written = for_markdown(text)
    rendered = MarkdownIt("commonmark").render(f"- at {written}")
    (line,) = re.findall(r"<li>at ?(.*)</li>", rendered)
    said = html.unescape(re.sub(r"</?code>", "", line)).replace(r"\x60", "`").replace(r"\x7c", "|")
    expected = for_log(text, most=texts.LONGEST_TEXT).replace(r"\x60", "`").replace(r"\x7c", "|")
    assert said.split() == expected.split()
    assert "|" not in written
    assert not re.search(r"[@#$*_<>&~\[\]\\]|https?:|www\.", re.sub(r"`[^`]*`", "", written), re.IGNORECASE)


@given(foreign)
@example("a`b|c")
def test_foreign_text_in_a_code_span_of_markdown_stays_in_it(text: str) -> None:
    written = for_markdown_code(text)
    assert not written or re.fullmatch(r"`[^`|\n]+`", written)
