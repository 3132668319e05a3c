"""Framing against the grammar of RFC 9112, byte by byte, and against a parser of others (h11).

The oracle below is written from the RFCs and shares nothing with drainkit. What it and drainkit
must agree on is not who is stricter but this: nothing malformed is ever believed, and whatever is
believed is what the RFC says.
"""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drainkit import NO_BODY, BodyKind, framing

# --- the oracle -----------------------------------------------------------------------------------

# RFC 9110 section 5.6: OWS, tokens, quoted strings, lists.
_OWS = rb"[ \t]*"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
# RFC 9112 section 7: transfer-coding = token *( OWS ";" OWS token BWS "=" BWS ( token / quoted ) )
_CODING = rb"%b(?:%b;%b%b%b=%b(?:%b|%b))*" % (
    *(_TOKEN, _OWS, _OWS, _TOKEN),
    *(_OWS, _OWS, _TOKEN, _QUOTED),
)
_CODINGS = re.compile(rb"%b(%b)?%b(?:,%b(?:%b)?%b)*" % (_OWS, _CODING, _OWS, _OWS, _CODING, _OWS))
_ONE_CODING = re.compile(_CODING)


def codings(value):
    """Return the transfer codings of a field's value, or None if it is malformed."""
    if not _CODINGS.fullmatch(value):
        return None
    # No comma is left outside a quoted string once those are gone.
    bare = re.sub(_QUOTED, lambda quoted: b"q" * len(quoted[0]), value)
    names = [coding.strip(b" \t") for coding in bare.split(b",")]
    # RFC 9110 section 5.6.1.2: empty elements are ignored.
    return [name.lower() for name in names if name]


def lengths(value):
    """Return the lengths that a Content-Length names, or None if it is malformed."""
    numbers = [number.strip(b" \t") for number in value.split(b",")]
    if not all(re.fullmatch(rb"[0-9]+", number) for number in numbers):
        return None
    return {int(number) if len(number) < 4000 else number.lstrip(b"0") for number in numbers}


def text(value):
    return None if value is None else value.decode("latin-1")


# --- strategies -----------------------------------------------------------------------------------

WHITESPACE = [b" ", b"\t", b"\n", b"\r", b"\x0b", b"\x0c", b"\x85", b"\xa0", b"\x00"]
LENGTH_PARTS = st.sampled_from(
    [
        *(b"0", b"1", b"9", b"5", b"00", b"10", b"123456789", b"9999999999999999999"),
        *(b",", b"+", b"-", b"_", b".", b"e", b"x", b";", b"=", b'"', b"\xb2", b"\xff"),
        *WHITESPACE,
    ]
)
CODING_PARTS = st.sampled_from(
    [
        *(b"chunked", b"Chunked", b"CHUNKED", b"chunke", b"d", b"gzip", b"identity", b"x-y"),
        *(b",", b", ", b" , ", b";", b";q=1", b'; a="b"', b'"', b'a="', b"\\", b"=", b"\xe2"),
        *WHITESPACE,
    ]
)


def field(parts):
    return st.lists(parts, max_size=8).map(b"".join) | st.binary(max_size=12)


LENGTHS = field(LENGTH_PARTS)
CODINGS = field(CODING_PARTS)
VERSIONS = st.sampled_from(["1.0", "1.1", "1", "0.9", "2", "2.0", "3"])


# --- against the grammar --------------------------------------------------------------------------


@given(value=LENGTHS)
@example(b"5, 5")
@example(b"5 5")
@example(b"5\xb2")
@example(b"0" * 5000 + b"5")
def test_a_content_length_is_believed_only_as_the_grammar_says(value):
    got = framing(http_version="1.1", content_length=text(value), transfer_encoding=None)
    said = lengths(value)

    if value == b"":
        assert NO_BODY == got
    elif said is None or len(said) > 1:
        assert BodyKind.UNKNOWN is got.kind
    elif got.kind is BodyKind.UNKNOWN:
        # Stricter on purpose: a list of equal lengths, and what no 64-bit number holds.
        assert b"," in value or len(value.strip(b" \t")) > 19
    else:
        assert said == {got.length or 0}
        assert (got.length is None) == (got.kind is BodyKind.NO_BODY)


@given(value=CODINGS)
@example(b"gzip, chunked")
@example(b'gzip;a="b, chunked')
@example(b'gzip;a=", chunked')
@example(b"chunked, chunked")
@example(b"chunked,")
@example(b"gzip chunked, chunked")
@example(b'x;a="\\", chunked", chunked')
def test_a_transfer_encoding_is_believed_only_as_the_grammar_says(value):
    got = framing(http_version="1.1", content_length="5", transfer_encoding=text(value))
    said = codings(value)

    if value == b"":
        assert BodyKind.LENGTH is got.kind
    elif got.kind is BodyKind.CHUNKED:
        assert said is not None
        assert b"chunked" == said[-1]
        # RFC 9112 section 6.1: chunked is applied once.
        assert b"chunked" not in said[:-1]
    else:
        assert BodyKind.UNKNOWN is got.kind
        # What is refused although it is plainly chunked would lose an answer for nothing.
        is_plain = re.fullmatch(rb"[ \t]*(?:[A-Za-z\-]+[ \t]*,[ \t]*)*chunked[ \t]*", value)
        assert not is_plain or (said or []).count(b"chunked") > 1


@given(length=LENGTHS, coding=CODINGS, version=VERSIONS)
def test_a_transfer_encoding_always_overrides_a_length(length, coding, version):
    """To believe the length instead is how requests are smuggled (RFC 9112 section 6.3)."""
    got = framing(http_version=version, content_length=text(length), transfer_encoding=text(coding))

    assert coding == b"" or got.length is None
    if coding and version in ("1.0", "1", "0.9"):
        assert BodyKind.UNKNOWN is got.kind


@given(value=st.integers(1, 20_000).map(lambda count: b"a;" * count))
def test_a_long_field_is_judged_in_time_that_grows_with_it_only(value):
    """No pattern that looks back: 40,000 bytes take no longer than a request."""
    got = framing(http_version="1.1", content_length=None, transfer_encoding=text(value))

    assert BodyKind.UNKNOWN is got.kind


# --- against h11 ----------------------------------------------------------------------------------

NAMES = st.sampled_from([b"Content-Length", b"content-length", b"Transfer-Encoding", b"X-Other"])
FIELDS = st.lists(
    st.tuples(NAMES, LENGTHS)
    | st.tuples(st.just(b"Content-Length"), st.integers(0, 300).map(lambda n: b"%d" % n))
    | st.tuples(st.just(b"Transfer-Encoding"), CODINGS)
    | st.tuples(st.just(b"Transfer-Encoding"), st.sampled_from([b"chunked", b"CHUNKED"])),
    max_size=4,
)
BODY = b"7\r\nabcdefg\r\n0\r\n\r\n" + b"z" * 300
LONGEST = 300


def body_of(h11, connection):
    """Return how h11 reads the body: its kind, and its length if that shows."""
    event = connection.next_event()
    if isinstance(event, h11.EndOfMessage):
        return BodyKind.NO_BODY, None
    assert event is h11.NEED_DATA
    connection.receive_data(BODY)
    nbytes = 0
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            nbytes += len(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            assert event is h11.NEED_DATA
            return BodyKind.LENGTH, None
    rest = connection.trailing_data[0]
    if nbytes == 7 and rest == b"z" * 300:
        return BodyKind.CHUNKED, None
    return BodyKind.LENGTH, nbytes


@given(fields=FIELDS, version=st.sampled_from([b"1.0", b"1.1"]))
@example([(b"Content-Length", b"5, 5")], b"1.1")
@example([(b"Content-Length", b"5"), (b"content-length", b"5")], b"1.1")
@example([(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], b"1.1")
@example([(b"Transfer-Encoding", b"chunked")], b"1.1")
@example([(b"Transfer-Encoding", b"Chunked")], b"1.1")
@example([(b"Content-Length", b"300")], b"1.0")
def test_whatever_h11_accepts_is_framed_as_h11_frames_it(fields, version):
    h11 = pytest.importorskip("h11", reason="needs h11")
    connection = h11.Connection(h11.SERVER)
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    connection.receive_data(b"POST / HTTP/%b\r\nHost: x\r\n%b\r\n" % (version, lines))
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError:
        return
    if not isinstance(request, h11.Request) or any(b"\n" in value for _, value in fields):
        return  # a line end in a value makes it another request, or none
    kind, nbytes = body_of(h11, connection)

    def value(wanted):
        found = [value for name, value in request.headers if name == wanted]
        return text(b",".join(found)) if found else None

    got = framing(
        http_version=version.decode(),
        content_length=value(b"content-length"),
        transfer_encoding=value(b"transfer-encoding"),
    )

    if got.kind is BodyKind.UNKNOWN:
        # Stricter on purpose (RFC 9112 section 6.1), and beyond 64 bits.
        is_old = version == b"1.0" and value(b"transfer-encoding")
        assert is_old or len(value(b"content-length") or "") > 19
    else:
        assert kind is got.kind
        if kind is BodyKind.LENGTH:
            assert got.length == nbytes if nbytes is not None else got.length > len(BODY)
