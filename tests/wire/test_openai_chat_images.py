"""Data URLs of every spelling, and what is refused with a sentence that says what to send instead."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_gateway.errors import InvalidRequest, UnsupportedValue
from tornado_gateway.wire.openai_chat_images import file_content, image_data, read_data_url, sniff, standard_base64

PARAM = "messages[0].content[0].image_url"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and more").decode()


def refusal(url: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        image_data(url, PARAM)
    assert caught.value.param == PARAM
    return caught.value


@given(st.binary(min_size=1), st.booleans(), st.booleans(), st.booleans())
def test_base64_of_every_spelling_becomes_the_standard_one(data: bytes, url_safe: bool, padded: bool, broken: bool) -> None:
    spelled = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    spelled = spelled if padded else spelled.rstrip("=")
    spelled = "\r\n".join(spelled[i : i + 7] for i in range(0, len(spelled), 7)) if broken else spelled

    assert standard_base64(spelled, PARAM) == base64.b64encode(data).decode()


@pytest.mark.parametrize("data", ["", "=", "A", "AAAAA", "AA=A", "not-valid!", "é", "AA==AA=="])
def test_what_is_not_base64_is_refused(data: str) -> None:
    with pytest.raises(InvalidRequest, match="base64") as caught:
        standard_base64(data, PARAM)

    assert caught.value.param == PARAM


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/cat.png",
        "HTTP://169.254.169.254/latest/meta-data",
        "//example.com/cat.png",
        "file:///etc/passwd",
        "ftp://example.com/a",
        PNG,
        "",
    ],
)
def test_an_address_is_never_fetched_and_the_message_says_what_to_send(address: str) -> None:
    error = refusal(address)

    assert isinstance(error, UnsupportedValue)
    assert "data:image/png;base64,..." in error.message
    assert "example.com" not in error.message


def test_a_label_may_be_missing_or_say_nothing_when_the_bytes_are_an_image() -> None:
    assert image_data(f"data:;base64,{PNG}", PARAM) == PNG
    assert image_data(f"data:application/octet-stream;base64,{PNG}", PARAM) == PNG
    assert refusal("data:application/octet-stream;base64,AAAA").param == PARAM


def test_data_may_come_percent_encoded_instead_of_base64() -> None:
    assert image_data("data:image/png,%89PNG%0D%0A%1A%0A and more", PARAM) == PNG


@pytest.mark.parametrize("label", ["image/gif", "image/svg+xml", "text/plain", "application/pdf", "video/mp4"])
def test_a_label_of_something_else_is_refused(label: str) -> None:
    assert "PNG, JPEG or WebP" in refusal(f"data:{label};base64,{PNG}").message


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"GIF89a", "GIF"),
        (b"BM....", "BMP"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x18ftypheic", "HEIC, AVIF or MP4"),
        (b"<svg xmlns=", "SVG"),
        (b"hello", None),
    ],
)
def test_a_file_is_known_by_its_first_bytes(head: bytes, kind: str | None) -> None:
    assert sniff(base64.b64encode(head).decode()) == kind


def test_bytes_of_a_wrong_kind_are_refused_under_a_right_label() -> None:
    gif = base64.b64encode(b"GIF89a and more").decode()

    assert "GIF" in refusal(f"data:image/png;base64,{gif}").message


@pytest.mark.parametrize("url", ["data:,", "data:image/png,", "data:image/png;base64,"])
def test_an_image_without_a_byte_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        image_data(url, PARAM)


def test_a_data_url_without_a_comma_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="comma"):
        read_data_url("data:image/png;base64", PARAM)


def test_a_file_of_text_is_text_and_a_file_of_an_image_is_an_image() -> None:
    assert file_content("data:text/plain;base64,SGVsbG8=", PARAM) == ("Hello", None)
    assert file_content('data:application/json,{"a":1}', PARAM) == ('{"a":1}', None)
    assert file_content(f"data:image/png;base64,{PNG}", PARAM) == ("", PNG)


@pytest.mark.parametrize("url", ["data:application/pdf;base64,JVBERg==", "data:text/plain;base64,/w=="])
def test_other_files_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        file_content(url, "messages[0].content[0].file.file_data")

    assert caught.value.param == "messages[0].content[0].file.file_data"
