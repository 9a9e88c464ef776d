"""Text for people and programs: foreign text made harmless for where it goes, secrets masked, words in one form.

A node's name, a key's path, all that a node, Consul or an HTTP server says is foreign. It is kept as it came (bounded,
and masked where it may hold a secret) and made harmless on its way out, by the `for_…` function of the place that it
goes to. All of them ask `_visible_pieces` about each character, so a new kind of deceit is put down there, once.

Numbers, lists, times and durations are written here too, so that they read alike wherever they stand.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

LONGEST_TEXT = 600
"""Characters of a summary or a detail on a terminal."""
LONGEST_CELL = 32_767
"""Characters of a cell of CSV: spreadsheets hold no more, and spread the rest over other cells."""

_WHOLE_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")
_CUT_KEY = re.compile(r"[A-Za-z0-9+/]{12,42}$")
# To the last @: a password may hold one.
_LOGIN = re.compile(r"[^\s/@:,;\"'=]*:[^\s\"']*@")
_URL = re.compile(r"https?://\S+")

# Controls, formats (the bidirectional ones among them), surrogates, private use, unassigned, line and paragraph
# separators, and all blanks: U+0020 alone is let through.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# Unicode's Default_Ignorable_Code_Point, as far as the categories above leave it out, and characters that have a
# category of their own and are drawn as a blank.
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff"
    "\u2800\U00016fe4\U0001d159]"
)
_MOST_MARKS = 2
"""Combining marks in a row: a long run of them covers the lines above and below."""
_NAME = re.compile(r"[\w.\-\u2010-\u2015]+")
_ALIKE = frozenset(
    {
        "LATIN",
        "CYRILLIC",
        "GREEK",
        "ARMENIAN",
        "CHEROKEE",
        "COPTIC",
        "LISU",
        "DESERET",
        "OSAGE",
        "GOTHIC",
        "GEORGIAN",
    }
    | {"GLAGOLITIC", "FULLWIDTH", "MATHEMATICAL", "ROMAN", "SMALL", "SQUARED", "CIRCLED", "PARENTHESIZED"}
)
"""Scripts, and forms of the Latin one, with letters that pass for those of another."""
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_SLACK = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"}
# The last would end the code span that a name stands in.
_MARKDOWN_WORD = re.compile(
    r"(?!\(?www\.)[(\"']?[^\W_]+(?:[.,/%'\u2026\u2013-]+[^\W_]+)*[.,;:%)\"'\u2026]*|-", re.IGNORECASE
)
"""A word without meaning in Markdown: no scheme, `www.`, `@`, `#` or underscore, and no colon but at its end."""
_LIST_MARK = re.compile(r"(\d+[.)]+|-)$")


# -- secrets


def masked(text: str, *, cut: bool = False) -> str:
    """Mask URLs (a webhook's is a secret) and anything that could be a 32-byte key in base64.

    Public keys go too: nothing tells them apart. `cut`: the text may end in the middle of a key, so a run
    of base64 at its end is taken for one.
    """
    text = without_login(_URL.sub("[url]", _WHOLE_KEY.sub("[key]", text)))
    return _CUT_KEY.sub("[key]", text) if cut else text


def without_login(text: str) -> str:
    """Mask a user with a password before a host: `[login]@198.18.0.12` for `root:word@198.18.0.12`."""
    return _LOGIN.sub("[login]@", text) if "@" in text else text


# -- foreign text, by destination


def for_terminal(text: str, *, ascii_only: bool = False, most: int = LONGEST_TEXT) -> str:
    r"""Escape foreign text for a terminal: characters that move a cursor, hide or reorder words show as `\x1b` ….

    A backslash is doubled, so that no name can pretend to be an escape. Cut with an ellipsis after `most`
    characters; no escape is cut in half. `ascii_only`: everything else is an escape too.
    """
    if len(text) <= most and "\\" not in text and _is_plain(text):
        return text
    pieces = _visible_pieces(text[: most + 1], ascii_only=ascii_only)
    return _cut(["\\\\" if piece == "\\" else piece for piece in pieces], most, "..." if ascii_only else "…")


def for_log(text: str, *, most: int | None = None) -> str:
    """Escape text with foreign parts for one line of a log, of stderr or of a notification. Idempotent.

    Escapes as on a terminal; a backslash is left alone, for the text is made of our own words too.
    """
    if most is None:
        return text if _is_plain(text) else "".join(_visible_pieces(text))
    return _cut(_visible_pieces(text[: most + 1]), most, "…")


def lines_for_log(text: str) -> str:
    """Escape several lines with foreign parts, such as a traceback: each as for a log, its indentation kept."""
    lines = (line.rstrip(" ") for line in text.split("\n"))
    return "\n".join(line[: len(line) - len(bare := line.lstrip(" "))] + for_log(bare) for line in lines)


def one_line(text: str, *, most: int | None = None) -> str:
    """Join a foreign text of several lines: blanks and line ends become one blank, the rest as for a log."""
    return for_log(" ".join(text.split()), most=most)


def for_detail(text: str) -> str:
    """Clean foreign text for the detail of a gap or an error, as one line: U+FFFD replaces unsafe characters.

    Not an escape: a detail is a value, and an escape in it would be escaped again on printing.
    """
    text = " ".join(text.split())
    pairs = zip(text, _visible_pieces(text), strict=True)
    return "".join(piece if piece == character else "\N{REPLACEMENT CHARACTER}" for character, piece in pairs)


def for_json(text: str) -> str:
    r"""Make text fit for every JSON reader and every database: a lone surrogate, no character, becomes `\udc80`.

    All else stays as it is: programs match names, and JSON has escapes of its own.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def for_csv(text: str) -> str:
    r"""Make foreign text fit for a cell of CSV that people open in a spreadsheet: never a formula, always one line.

    What a spreadsheet would compute, it shows as text: an apostrophe stands before a leading `=`, `+`, `-` or `@`, of a
    public key too. Control characters show as `\x1b` …. At most `LONGEST_CELL` characters, cut with an ellipsis.
    """
    shown = for_log(text, most=LONGEST_CELL - 1)
    return f"'{shown}" if shown.lstrip(" '").startswith(_FORMULA) else shown


def for_slack(text: str, *, most: int) -> str:
    """Escape foreign text for Slack's mrkdwn, at most `most` characters long once `&`, `<` and `>` are escaped.

    A backtick becomes an apostrophe: the text may stand in a code span.
    """
    return _cut([_SLACK.get(piece, piece) for piece in _visible_pieces(text[: most + 1])], most, "…")


def for_markdown(text: str, *, most: int = LONGEST_TEXT, ascii_only: bool = False) -> str:
    """Write a text with foreign parts as prose of Markdown, on one line.

    A word of more than letters, digits and the marks of a sentence stands in a code span, where it is no link, mention,
    emphasis, table cell or HTML.
    """
    shown = _cut(_visible_pieces(text[: most + 1], ascii_only=ascii_only), most, "..." if ascii_only else "…")
    words = shown.split(" ")
    return " ".join(
        word
        if _MARKDOWN_WORD.fullmatch(word) and not (number == 0 and _LIST_MARK.match(word))
        else _code_span(word)
        for number, word in enumerate(words)
        if word
    )


def for_markdown_code(text: str, *, most: int = LONGEST_TEXT, ascii_only: bool = False) -> str:
    """Write foreign text as a code span of Markdown; what would end it, or a table's cell, is an escape."""
    shown = _cut(_visible_pieces(text[: most + 1], ascii_only=ascii_only), most, "..." if ascii_only else "…")
    return _code_span(shown)


def _code_span(shown: str) -> str:
    return f"`{shown.replace('`', _escape('`')).replace('|', _escape('|'))}`" if shown else ""


def for_shell(text: str) -> str:
    r"""Quote a text as one word of a POSIX shell's command, which gives exactly this text and is harmless to look at.

    What must not be shown is spelt by `printf` in octal: `"$(printf 'a\033b')"`. A surrogate that stands for an
    undecodable byte (as in a file's name) gives that byte.

    Raises:
        ValueError: No such word gives this text: it holds NUL, ends with a line end, or has no bytes.
    """
    if harmless(text):
        return shlex.quote(text)
    if "\0" in text or text.endswith("\n"):
        raise ValueError("a shell's word holds no NUL, and none that is spelt ends with a line end")
    raw = text.encode("utf-8", "surrogateescape")  # UnicodeEncodeError is a ValueError
    spelt = "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"\\{byte:03o}" for byte in raw
    )
    return f"\"$(printf '{spelt}')\""


def harmless(text: str) -> bool:
    """Tell whether a text shows as it is: nothing in it would be escaped."""
    return _is_plain(text) or "".join(_visible_pieces(text)) == text


def _visible_pieces(text: str, *, ascii_only: bool = False) -> list[str]:
    """List each character, or the escape that shows it."""
    if _is_plain(text):
        return list(text)
    first, end = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    pieces: list[str] = []
    marks = 0
    for index, character in enumerate(text):
        category = unicodedata.category(character)
        marks = marks + 1 if category[0] == "M" else 0
        unseen = (
            (character == " " and not first <= index < end)
            or (category in _UNSEEN and character != " ")
            or (ascii_only and not character.isascii())
            or marks > (_MOST_MARKS if index else 0)
            or _IGNORABLE.match(character)
        )
        pieces.append(_escape(character) if unseen else character)
    # An escape has Latin letters, which make a stranger of what stands beside it: so it is looked for among the pieces.
    strangers = _strangers("".join(pieces))
    place = 0
    for index, piece in enumerate(pieces):
        if place in strangers:
            pieces[index] = _escape(piece)
        place += len(piece)
    return pieces


def _strangers(text: str) -> frozenset[int]:
    """Places of letters that look like those of another script in the same name: `\u0435` in `\u0435dge-sin-1`.

    Where there are Latin letters, those that are none; else, in a mix of such scripts, all. A name of one script is
    left as it is, and so are scripts that look like no other.
    """
    found: set[int] = set()
    for name in _NAME.finditer(text):
        if name[0].isascii():
            continue
        scripts = {name.start() + at: _script(letter) for at, letter in enumerate(name[0])}
        alike = set(scripts.values()) - {""}
        if len(alike) > 1:
            found.update(
                at for at, script in scripts.items() if script and (script != "LATIN" or "LATIN" not in alike)
            )
    return frozenset(found)


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """The script of a letter or number, of those whose letters are taken for one another; "" for all others."""
    # The first word of a character's name in Unicode: Python knows no property for it.
    word = unicodedata.name(character, "").partition(" ")[0]
    return word if word in _ALIKE and unicodedata.category(character)[0] in "LNS" else ""


def _is_plain(text: str) -> bool:
    """Tell whether a text is harmless at first sight, as nearly all are."""
    return text.isascii() and text.isprintable() and text[:1] != " " != text[-1:]


def _escape(character: str) -> str:
    point = ord(character)
    if point <= 0xFF:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _cut(pieces: list[str], most: int, ellipsis: str) -> str:
    """Join as many pieces as fit into `most` characters with the ellipsis; all of them, without it, if they fit."""
    if sum(map(len, pieces)) <= most:
        return "".join(pieces)
    kept: list[str] = []
    room = most - len(ellipsis)
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + ellipsis


# -- words


def count(number: int, noun: str, plural: str = "") -> str:
    """Word a count: `1 node`, `2 nodes`, `12,000 nodes`. `plural` where an `s` does not make it."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(items: Iterable[str], *, most: int = 5, total: int = 0, last: str = " and ") -> str:
    """Word a list: `a, b and c`; of more than `most` items the first so many and `and 12 more`.

    `total`: how many there are, if `items` are only the first of them. `last` stands before the last item.
    """
    names = list(items)
    total = max(total, len(names))
    shown = names[:most]
    if total > len(shown):
        return f"{', '.join(shown)} and {total - len(shown):,} more" if shown else f"{total:,}"
    return f"{', '.join(shown[:-1])}{last}{shown[-1]}" if len(shown) > 1 else "".join(shown)


def listed_within(items: Sequence[str], characters: int, *, total: int = 0) -> str:
    """List as many items as fit into so many characters, and count the rest; where none fits, count them all.

    `total`: how many there are, if `items` are only the first of them.
    """
    total = max(total, len(items))
    if total == len(items) and len(whole := ", ".join(items)) <= characters:
        return whole
    names: list[str] = []
    size = 0
    for position, item in enumerate(items):
        rest = len(f" and {total - position - 1:,} more")
        separator = 2 if names else 0
        if size + separator + len(item) + rest > characters:
            break
        names.append(item)
        size += separator + len(item)
    if not names:
        return f"{total:,}, too many to name here"
    return listed(names, most=len(names), total=total, last=", ")


def timestamp(at: datetime, precision: Literal["seconds", "milliseconds"] = "milliseconds") -> str:
    """Write a time for programs, RFC 3339 in UTC: `2026-03-01T02:59:42.345Z`."""
    return at.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def stored_time(at: datetime) -> str:
    """Write a time for the state database: in UTC, and the later one sorts behind the earlier one."""
    return at.astimezone(UTC).isoformat("T", "microseconds")


def minute(at: datetime) -> str:
    """Write a time for people: `2026-03-01 02:59 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def tenth(at: datetime) -> str:
    """Write a time for people to a tenth of a second: `2026-03-01 02:59:07.2 UTC`."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 100_000} UTC"


def duration(seconds: float, *, whole: bool = False) -> str:
    """Word a time span: `3.2 s`, `45 s`, `12 min`, `2.1 h`. `whole` for estimates: `3 s`."""
    if seconds < 120:
        return f"{seconds:.0f} s" if whole or seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
