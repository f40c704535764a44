"""Bytes to text, whatever charset they claim.

Labels are those of the WHATWG Encoding Standard (https://encoding.spec.whatwg.org/#names-and-labels) with what mail
adds to them, and mean what browsers take them for: `iso-8859-1` is windows-1252, `gb2312` is gb18030. Only codecs
named here are used: of Python's others some are no charsets (`unicode_escape`), and some cost the square of the
length (`punycode`, `idna`).
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Final

_REPLACED_SHARE: Final = 0.02
"""Of characters: with more of them a text is not damaged but of another charset."""

_ALIASES: Final = {
    "": "utf-8",
    "ascii": "ascii",
    "us-ascii": "ascii",
    "ansi_x3.4-1968": "ascii",
    "646": "ascii",
    "unicode-1-1-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8",
    "utf8mb4": "utf-8",
    "cp65001": "utf-8",
    "utf-7": "utf-7",
    "utf7": "utf-7",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "unicode": "utf-16",
    "utf-32": "utf-32",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "l1": "cp1252",
    "iso8859-1": "cp1252",
    "iso-8859-1": "cp1252",
    "iso_8859-1": "cp1252",
    "iso-8859-1-windows-3.1-latin-1": "cp1252",
    "latin2": "iso8859-2",
    "latin-2": "iso8859-2",
    "latin-9": "iso8859-15",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-6-i": "iso8859-6",
    "iso-8859-9": "cp1254",
    "iso8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "mac": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-ce": "mac-latin2",
    "x-mac-greek": "mac-greek",
    "x-mac-turkish": "mac-turkish",
    "koi8": "koi8-r",
    "koi8-ru": "koi8-u",
    "koi": "koi8-r",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gb2312-80": "gb18030",
    "x-gbk": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "windows-936": "gb18030",
    "euc-cn": "gb18030",
    "gb18030": "gb18030",
    "hz": "hz",
    "hz-gb-2312": "hz",
    "big5": "big5hkscs",
    "big-5": "big5hkscs",
    "big5-hkscs": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "cn-big5": "big5hkscs",
    "cp950": "cp950",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "ms_kanji": "cp932",
    "windows-31j": "cp932",
    "cp932": "cp932",
    "euc-jp": "euc_jis_2004",
    "x-euc-jp": "euc_jis_2004",
    "eucjp": "euc_jis_2004",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-2022-jp-1": "iso2022_jp_1",
    "iso-2022-jp-2": "iso2022_jp_2",
    "iso-2022-jp-3": "iso2022_jp_3",
    "iso-2022-jp-2004": "iso2022_jp_2004",
    "cp50220": "iso2022_jp_ext",
    "cp50221": "iso2022_jp_ext",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "ksc5601": "cp949",
    "ksc_5601": "cp949",
    "korean": "cp949",
    "uhc": "cp949",
    "cp949": "cp949",
    "johab": "johab",
    "iso-2022-kr": "iso2022_kr",
    "viscii": "cp1258",
    "ptcp154": "ptcp154",
    "kz1048": "kz1048",
    "tcvn": "cp1258",
}
_NUMBERED: Final = re.compile(
    r"(?:(?:x-)?(?:cp|windows|win|ibm|cswindows)[-_]?(?P<page>\d{3,4})|iso[-_]?8859[-_](?P<part>\d{1,2})|koi8[-_](?P<koi>[rut]))"
)
_PAGES: Final = frozenset(
    {
        "437",
        "720",
        "737",
        "775",
        "850",
        "852",
        "855",
        "856",
        "857",
        "858",
        "860",
        "861",
        "862",
        "863",
        "864",
        "865",
        "866",
        "869",
        "874",
        "1006",
        "1125",
        "1250",
        "1251",
        "1252",
        "1253",
        "1254",
        "1255",
        "1256",
        "1257",
        "1258",
    }
)
_PARTS: Final = frozenset({"2", "3", "4", "5", "6", "7", "8", "10", "13", "14", "15", "16"})
_ONE_BYTE: Final = ("cp12", "iso8859", "koi8", "cp8", "cp4", "mac")
_MULTIBYTE: Final = frozenset({"utf-8", "ascii"})
_ISO_2022_JP: Final = "iso2022_jp_ext"
_DESIGNATION: Final = re.compile(rb"\x1b(?:(\$)\(?([@BDOPQ])|\(([BIJ]))")
_DESIGNATIONS: Final = 10_000
"""In a text: more are noise, and each costs a step."""
_TO_HIGH: Final = bytes(code | 0x80 if 0x21 <= code <= 0x7E else code for code in range(256))  # noqa: PLR2004 - printable
"""The same characters in the right half of the code table; line breaks stay."""
_ESCAPES: Final = re.compile(rb"\x1b[$(]")


@lru_cache(512)
def codec_of(label: str) -> str:
    """Name of Python's codec; empty where the label means none."""
    name = label.strip(" \t\"'=<>;.").lower().partition("*")[0]
    if known := _ALIASES.get(name) or _ALIASES.get(name.replace("_", "-")):
        return known
    match = _NUMBERED.match(name)  # what is behind is noise: `windows-1252http-equiv`
    if match is None:
        return ""
    if (page := match["page"]) in _PAGES:
        return f"cp{page}"
    if (part := match["part"]) is not None:
        return _ALIASES.get(f"iso-8859-{part}", "") or (f"iso8859-{part}" if part in _PARTS else "")
    return f"koi8-{match['koi']}" if match["koi"] else ""


def decode(data: bytes, label: str, hint: str = "") -> tuple[str, str]:
    """Text, and what was wrong: `charset_unknown`, `charset_wrong`, `charset_damaged` or nothing.

    Args: bytes; the charset they claim; and one that others of the mail claim, for bytes that claim none.
    """
    if data.isascii() and b"\x1b" not in data and b"\0" not in data and codec_of(label) in _MULTIBYTE:
        return data.decode("ascii"), ""
    codec = codec_of(label)
    if not codec:
        return _guessed(data, hint), "charset_unknown"
    if text := _other(data, codec):
        return text, "charset_wrong"
    try:
        return _scalar(data.decode(codec)), ""
    except (UnicodeError, ValueError):
        pass
    if codec == _ISO_2022_JP:
        text = _japanese(data)
        return text, "charset_damaged" if "\ufffd" in text else ""
    return _mislabelled(data, codec, hint)


def _japanese(data: bytes) -> str:
    """ISO-2022-JP as it is written: with characters of vendors, katakana of half the width, bytes of Shift_JIS."""
    if data.count(b"\x1b") > _DESIGNATIONS:
        return _scalar(data.decode(_ISO_2022_JP, "replace"))
    output: list[str] = []
    place, codec, table = 0, "cp932", None
    for match in _DESIGNATION.finditer(data):
        output.append(data[place : match.start()].translate(table).decode(codec, "replace"))
        place = match.end()
        codec = "euc_jis_2004" if match[1] else "cp932"
        table = _TO_HIGH if match[1] or match[3] == b"I" else None
    output.append(data[place:].translate(table).decode(codec, "replace"))
    return _scalar("".join(output))


def _other(data: bytes, codec: str) -> str:
    """Of bytes that are plainly of another charset, though the one they claim would take them."""
    if codec in _MULTIBYTE and b"\x1b" in data and _ESCAPES.search(data):
        return _japanese(data)
    # Letters of these do not make sound UTF-8 by chance.
    return _utf8(data) if codec.startswith(_ONE_BYTE) else ""


def _utf8(data: bytes) -> str:
    """Empty where it is none, or nothing beyond ASCII."""
    try:
        return "" if data.isascii() else data.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _mislabelled(data: bytes, codec: str, hint: str) -> tuple[str, str]:
    if codec in _MULTIBYTE or codec == "utf-7":
        text, fits = _lenient(data, "utf-8")
    else:
        try:
            return data.decode("utf-8"), "charset_wrong"
        except UnicodeDecodeError:
            text, fits = _lenient(data, codec)
    if fits:
        return text, "charset_wrong" if codec == "ascii" and "\ufffd" not in text else "charset_damaged"
    return _guessed(data, hint), "charset_wrong"


def _lenient(data: bytes, codec: str) -> tuple[str, bool]:
    text = _scalar(data.decode(codec, "replace"))
    return text, text.count("\ufffd") <= len(text) * _REPLACED_SHARE


def _guessed(data: bytes, hint: str) -> str:
    """By what the bytes say themselves, else by the hint, else as Western Europe would have written it."""
    if _ESCAPES.search(data):
        return _japanese(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return _scalar(data.decode("utf-16", "replace"))
    codec = codec_of(hint) if hint else ""
    if codec and codec not in _MULTIBYTE:
        text, fits = _lenient(data, codec)
        if fits:
            return text
    return data.decode("cp1252", "replace")


def _scalar(text: str) -> str:
    """Without surrogates, which some codecs let through (utf-7, utf-16) and no encoder takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
