"""How long a body is, after RFC 9112 section 6.3, and that no client can make it raise."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drainkit import NO_BODY, BodyKind, Framing, framing


def framed(content_length=None, transfer_encoding=None, *, http_version="1.1", expect=None):
    return framing(
        http_version=http_version,
        content_length=content_length,
        transfer_encoding=transfer_encoding,
        expect=expect,
    )


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("5", 5),
        (" 5 ", 5),
        ("\t5", 5),
        ("007", 7),
        ("9" * 19, 10**19 - 1),
        ("0" * 18 + "5", 5),
    ],
)
def test_a_decimal_content_length_is_believed(value, length):
    assert Framing(BodyKind.LENGTH, length) == framed(value)


@pytest.mark.parametrize("value", ["0", "00", " 0 ", "0" * 19, "", None], ids=repr)
def test_a_request_of_length_zero_or_without_length_has_no_body(value):
    assert NO_BODY == framed(value)


MALFORMED = [
    "abc",
    "-1",
    "1,2",
    "5,5",
    "5, 5",
    "+5",
    "\uff11",  # FULLWIDTH DIGIT ONE, a digit to str.isdigit() and int()
    "\u00b2",  # SUPERSCRIPT TWO, a digit to str.isdigit() and not to int()
    "\u0661",  # ARABIC-INDIC DIGIT ONE
    "0x10",
    "1_000",
    "1.0",
    "1e3",
    "5;",
    "5\n",
    "5\r\nX: y",
    "5\x00",
    "5\u00a0",  # NO-BREAK SPACE, which str.strip() would take away
    " ",
    "5 5",
    "9" * 20,
]


@pytest.mark.parametrize("value", MALFORMED, ids=ascii)
def test_a_malformed_content_length_leaves_the_body_unframed(value):
    got = framed(value)

    assert BodyKind.UNKNOWN == got.kind
    assert got.length is None
    assert f"Content-Length {value!r} is not a decimal length" == got.problem


def test_five_thousand_digits_are_a_problem_of_few_words():
    """int() raises for more than 4,300; the report must not repeat them either."""
    got = framed("1" * 5000)

    assert BodyKind.UNKNOWN == got.kind
    assert len(got.problem) < 150


@pytest.mark.parametrize(
    "value",
    ["chunked", "CHUNKED", "Chunked", " chunked ", "gzip, chunked", "gzip,chunked", "x,\tchunked"],
)
def test_transfer_encoding_that_ends_in_chunked_frames_the_body(value):
    assert Framing(BodyKind.CHUNKED) == framed(None, value)


@pytest.mark.parametrize(
    "value",
    [
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked,",
        "xchunked",
        "chunked;q=1",
        "chun\u212aed",
        " ",
        ",",
        "chunked\x0b",
    ],
    ids=ascii,
)
def test_transfer_encoding_that_does_not_end_in_chunked_leaves_the_body_unframed(value):
    got = framed(None, value)

    assert BodyKind.UNKNOWN == got.kind
    assert f"Transfer-Encoding {value!r} does not end in chunked" == got.problem


def test_a_long_transfer_encoding_is_cut_in_the_report():
    assert len(framed(None, "x" * 5000).problem) < 150


@pytest.mark.parametrize("length", ["5", "0", "abc", "", None], ids=repr)
def test_transfer_encoding_overrides_content_length(length):
    """RFC 9112 section 6.3, step 3."""
    assert Framing(BodyKind.CHUNKED) == framed(length, "chunked")


@pytest.mark.parametrize("length", ["5", "0", "abc"], ids=repr)
def test_a_faulty_transfer_encoding_overrides_content_length_too(length):
    """To believe the length instead is how requests are smuggled."""
    assert BodyKind.UNKNOWN == framed(length, "gzip").kind


def test_an_empty_transfer_encoding_is_none():
    assert Framing(BodyKind.LENGTH, 5) == framed("5", "")


@pytest.mark.parametrize("version", ["1.0", "1", "0.9"])
@pytest.mark.parametrize("length", ["5", None], ids=repr)
def test_transfer_encoding_in_http_1_0_is_faulty(version, length):
    """RFC 9112 section 6.1."""
    got = framed(length, "chunked", http_version=version)

    assert BodyKind.UNKNOWN == got.kind
    assert "Transfer-Encoding in an HTTP/1.0 request" == got.problem


@pytest.mark.parametrize("version", ["1.0", "1", "1.1", "0.9", ""])
def test_http_1_without_either_field_has_no_body(version):
    assert NO_BODY == framed(http_version=version)


@pytest.mark.parametrize("version", ["2", "2.0", "3", "3.0"])
def test_http_2_and_3_need_no_field_for_a_body(version):
    """The END_STREAM flag ends it (RFC 9113 section 8.1)."""
    assert Framing(BodyKind.CHUNKED) == framed(http_version=version)


@pytest.mark.parametrize("version", ["2", "3"])
def test_http_2_and_3_may_declare_a_length(version):
    assert Framing(BodyKind.LENGTH, 5) == framed("5", http_version=version)
    assert NO_BODY == framed("0", http_version=version)


@pytest.mark.parametrize(
    "expect", ["100-continue", "100-Continue", "100-CONTINUE", " 100-continue "]
)
@pytest.mark.parametrize("version", ["1.1", "2"])
def test_the_expectation_stands_in_any_case_of_letters(expect, version):
    got = framed("5", http_version=version, expect=expect)

    assert Framing(BodyKind.LENGTH, 5, expects_continue=True) == got


@pytest.mark.parametrize("version", ["1.0", "1", "0.9"])
def test_an_expectation_in_http_1_0_is_ignored(version):
    """RFC 9110 section 10.1.1."""
    got = framed("5", http_version=version, expect="100-continue")

    assert Framing(BodyKind.LENGTH, 5, expects_continue=False) == got


@pytest.mark.parametrize("expect", ["", None, "200-ok", "100", "100-continued"], ids=repr)
def test_another_expectation_is_none(expect):
    assert not framed("5", expect=expect).expects_continue


def test_the_expectation_stands_with_every_framing_that_has_a_body():
    got = [
        framed("5", expect="100-continue"),
        framed("x", expect="100-continue"),
        framed(None, "chunked", expect="100-continue"),
        framed(None, "gzip", expect="100-continue"),
        framed(None, http_version="2", expect="100-continue"),
        framed("0", expect="100-continue"),
        framed(None, expect="100-continue"),
    ]

    assert [True, True, True, True, True, False, False] == [each.expects_continue for each in got]


TEXTS = st.one_of(
    st.none(),
    st.text(),
    st.text("0123456789"),
    st.text("0123456789 \t,+-_x\uff11\u0661\u00b2"),
    st.integers().map(str),
    st.sampled_from(["chunked", "gzip, chunked", "100-continue", *MALFORMED]),
)


@given(
    http_version=st.one_of(st.text(), st.sampled_from(["1.0", "1.1", "2", "3"])),
    content_length=TEXTS,
    transfer_encoding=TEXTS,
    expect=TEXTS,
)
def test_no_client_can_make_it_raise(http_version, content_length, transfer_encoding, expect):
    got = framing(
        http_version=http_version,
        content_length=content_length,
        transfer_encoding=transfer_encoding,
        expect=expect,
    )

    assert (got.kind is BodyKind.LENGTH) == (got.length is not None)
    assert (got.kind is BodyKind.UNKNOWN) == (got.problem is not None)
    assert got.length is None or 0 < got.length < 10**19


@given(content_length=TEXTS)
def test_a_length_is_one_to_nineteen_ascii_digits_above_zero(content_length):
    got = framed(content_length)

    digits = (content_length or "").strip(" \t")
    is_length = bool(re.fullmatch("[0123456789]{1,19}", digits)) and digits.strip("0") != ""
    assert is_length == (got.kind is BodyKind.LENGTH)
    assert not is_length or int(digits) == got.length
