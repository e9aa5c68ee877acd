"""The data converter: one payload converter for the process, and its codec for each key."""

from __future__ import annotations

from pydantic import BaseModel

from placet_temporal.connection import data_converter


class Message(BaseModel):
    text: str


def test_every_activation_gets_the_same_payload_converter_and_its_cache_of_types() -> None:
    converter = data_converter(bytes(32))
    assert converter.payload_converter_class() is converter.payload_converter_class()
    other = data_converter(b"k" * 32)
    assert other.payload_converter_class is converter.payload_converter_class
    assert other.payload_codec is not converter.payload_codec


async def test_a_message_comes_back_as_it_was_through_each_converter() -> None:
    for converter in (data_converter(bytes(32)), data_converter(b"k" * 32)):
        encoded = await converter.encode([Message(text="Lunch menu")])
        assert b"Lunch" not in encoded[0].data
        assert await converter.decode(encoded, [Message]) == [Message(text="Lunch menu")]
