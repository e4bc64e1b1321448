"""Text in the encoding that the profile names; what cannot be decoded is found where it stands."""

from __future__ import annotations

import codecs

import pytest

from appliance import decoding
from tests.unit.reader.rows import cells, refusal, text_profile

TEXT = "a,b,c,reading\r\nStröm,µ,€,4\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252", "utf-16"])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_the_profiles_encoding_is_read(monkeypatch: pytest.MonkeyPatch, encoding: str, chunk: int) -> None:
    monkeypatch.setattr(decoding, "CHUNK", 4096 if encoding == "utf-16" else chunk)
    assert cells(TEXT.encode(encoding), text_profile(encoding=encoding)) == [("Ström", "µ", "€", "4")]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", [True, False])
def test_utf_16_is_read_in_either_order_with_and_without_its_mark(codec: str, mark: bool) -> None:
    data = ("\ufeff" if mark else "").encode(codec) + TEXT.encode(codec)
    assert cells(data, text_profile(encoding="utf-16")) == [("Ström", "µ", "€", "4")]


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252", "latin-1", "utf-16"])
def test_a_utf_8_mark_is_believed_under_every_encoding(encoding: str) -> None:
    assert cells(codecs.BOM_UTF8 + TEXT.encode(), text_profile(encoding=encoding)) == [("Ström", "µ", "€", "4")]


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_bytes_that_cannot_be_decoded_spoil_their_own_cell(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(decoding, "CHUNK", chunk)
    data = b"a,b,c,reading\nok,ok,ok,1\nStr\xf6m,\xc3\xa4,\xe2\x82,2\nok,\xff,ok,3\n"
    assert cells(data, text_profile()) == [
        ("ok", "ok", "ok", "1"),
        ("Str\ufffdm", "ä", "\ufffd", "2"),
        ("ok", "\ufffd", "ok", "3"),
    ]


def test_a_byte_that_windows_1252_lacks_is_found() -> None:
    assert cells(b"a,b,c,reading\n\x80,\x81,c,1\n", text_profile(encoding="windows-1252")) == [
        ("€", "\ufffd", "c", "1")
    ]


@pytest.mark.parametrize(
    ("data", "encoding", "looks_like"),
    [
        (TEXT.encode("utf-16"), "utf-8", "UTF-16"),
        (TEXT.encode("utf-16-le"), "utf-8", "UTF-16"),
        (TEXT.encode("utf-16-be"), "windows-1252", "UTF-16"),
        (TEXT.encode("utf-32"), "utf-8", "UTF-32"),
        (TEXT.encode(), "utf-16", "UTF-8"),
        ("a,Größe,c,reading\n1,2,3,4\n".encode("latin-1"), "utf-8", "another encoding"),
    ],
)
def test_a_file_in_another_encoding_is_refused_and_told(data: bytes, encoding: str, looks_like: str) -> None:
    refused = refusal(data, text_profile(encoding=encoding))
    assert refused.reason == "encoding"
    assert looks_like in refused.message


def test_a_mark_in_the_middle_of_a_file_stays_wherever_a_batch_begins() -> None:
    data = "a,b,c,reading\n1,2,3,4\n\ufeff5,6,7,8\n".encode()
    for batch_rows in (1, 2):
        assert cells(data, text_profile(), batch_rows=batch_rows)[1] == ("\ufeff5", "6", "7", "8")


def test_nul_characters_of_utf_16_are_refused() -> None:
    assert refusal((TEXT + "\0").encode("utf-16"), text_profile(encoding="utf-16")).reason == "nul_bytes"
