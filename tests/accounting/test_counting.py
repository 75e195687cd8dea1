"""Tokens are counted before sending: offline, in bounded time, and a worst case is never below the truth."""

import base64
import random
import socket
import string
import struct
import subprocess
import sys
import threading
import time

import pytest
import tiktoken_ext.openai_public
from hypothesis import given, settings
from hypothesis import strategies as st
from support.patience import PATIENCE
from support.values import a_deployment

from llmgate_plugins.types import Message, Request, ToolCall
from llmgate_plugins.usage import count_tokens, encodings, estimate_tokens, most_input
from llmgate_plugins.usage.attachments import picture_size
from llmgate_plugins.usage.counting import COUNTED_CHARACTERS
from llmgate_plugins.usage.encodings import PATTERNS, encoding_for, name_for

OURS = a_deployment("ours", provider="openai", model="gpt-4o")
OTHER = a_deployment("other", provider="anthropic", model="claude-sonnet-4-5")
O200K = encoding_for("o200k_base", wait=True)

OFFLINE = """
import socket, sys
def refuse(*args, **kwargs): raise AssertionError("asked the network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from llmgate_plugins.usage import count_tokens
assert count_tokens("hello world, hello world", "gpt-4") == 5
assert count_tokens("hello world, hello world", "gpt-4o") == 5
assert count_tokens("hello world, hello world", "meta-llama/Llama-3-8b") == 5
assert not {"litellm", "requests"} & set(sys.modules)
"""


def asking(*contents, **params):
    messages = tuple(Message(role="user", content=content) for content in contents)
    return Request(model="m", messages=messages, params=params)


def test_counting_asks_no_network_and_imports_no_litellm():
    subprocess.run([sys.executable, "-c", OFFLINE], check=True, timeout=60)


def test_without_a_table_a_quarter_of_the_characters_is_told(monkeypatch):
    monkeypatch.setattr("llmgate_plugins.usage.counting.encoding_for", lambda name, wait: None)
    assert count_tokens("x" * 401) == estimate_tokens(401) == 101


def test_a_table_that_is_not_read_yet_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(encodings, "_known", {})
    begin, ranks = threading.Event(), encodings._ranks
    monkeypatch.setattr(encodings, "_ranks", lambda name: ranks(name) if begin.wait(PATIENCE) else None)
    assert count_tokens("x" * 400, "gpt-4", wait=False) == 100
    assert encodings._known == {}, "nobody has waited until it was read"
    begin.set()
    assert count_tokens("hello world", "gpt-4") == 2


def test_a_table_that_was_tampered_with_is_not_used(monkeypatch, tmp_path):
    (tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790").write_text("AAAA 1\n")
    monkeypatch.setattr("llmgate_plugins.usage.encodings._folders", lambda: iter([tmp_path]))
    monkeypatch.setattr("llmgate_plugins.usage.encodings._known", {})
    assert encoding_for("o200k_base", wait=True) is None
    assert count_tokens("x" * 400) == 100


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_text_is_cut_as_tiktoken_cuts_it(monkeypatch, name):
    monkeypatch.setattr(tiktoken_ext.openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    assert PATTERNS[name] == getattr(tiktoken_ext.openai_public, name)()["pat_str"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("openai/gpt-5", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("claude-sonnet-4-5", None),
        ("", None),
    ],
)
def test_a_model_has_the_table_that_openai_says(model, name):
    assert name_for(model) == name


def test_messages_count_with_what_goes_around_them():
    """OpenAI's own recipe: three tokens for each message, one for its role, three for the answer."""
    messages = [
        Message(role="system", content="You are helpful."),
        Message(role="user", content="hello world"),
    ]
    assert count_tokens(messages, "gpt-4o") == 2 * 4 + 4 + 2 + 3
    call = ToolCall(id="1", name="look", arguments='{"at":1}')
    asked = Message(role="assistant", content=({"type": "text", "text": "hello world"},), tool_calls=(call,))
    assert count_tokens([asked]) == 4 + 2 + 4 + 1 + 5 + 3
    assert count_tokens([]) == 0


@pytest.mark.parametrize(
    "text",
    ["a" * 10**6, "-" * 10**6, " " * 10**6, "漢字" * 250_000, "q9/Z" * 250_000, "the cat sat. " * 80_000],
    ids=["one letter", "dashes", "spaces", "han", "base64", "prose"],
)
def test_a_million_characters_of_any_kind_are_counted_within_bounded_time(text):
    request = asking(text)
    for ask, most in ((lambda: count_tokens(text, "gpt-4o"), 1.0), (lambda: most_input(request, OURS), 0.1)):
        before = time.thread_time()
        assert ask() > 0
        assert time.thread_time() - before < most


def test_what_is_beyond_the_counted_characters_is_like_them():
    text = "the cat sat on the mat. " * 50_000
    assert len(text) > 5 * COUNTED_CHARACTERS
    assert count_tokens(text, "gpt-4o") == pytest.approx(len(O200K.encode_ordinary(text)), rel=0.001)


def test_a_run_without_a_boundary_is_counted_within_a_percent_or_two():
    run = "".join(random.Random(4).choices(string.ascii_letters, k=20_000))
    assert count_tokens(run, "gpt-4o") == pytest.approx(len(O200K.encode_ordinary(run)), rel=0.02)


TEXT = st.text(max_size=300) | st.builds(
    lambda piece, times: piece * times, st.text(min_size=1, max_size=6), st.integers(1, 900)
)


@settings(max_examples=300)
@given(st.lists(TEXT, max_size=4))
def test_the_worst_case_is_never_below_what_the_model_counts(texts):
    truth = sum(len(O200K.encode_ordinary(text)) + 5 for text in texts)
    assert most_input(asking(*texts), OURS) >= truth
    assert most_input(asking(*texts), OTHER) >= truth
    assert most_input(asking(*texts)) >= truth


@pytest.mark.parametrize(
    "alphabet",
    [string.printable, string.ascii_letters + string.digits + "+/", "0123456789abcdef-", "QZXJVKWq", "qzxj "],
    ids=["printable", "base64", "uuids", "rare letters", "rare words"],
)
def test_text_that_is_no_prose_does_not_get_below_the_worst_case(alphabet):
    text = "".join(random.Random(7).choices(alphabet, k=30_000))
    for table in ("cl100k_base", "o200k_base"):
        truth = len(encoding_for(table, wait=True).encode_ordinary(text))
        assert most_input(asking(text), OTHER) >= truth
    assert most_input(asking(text), OURS) >= len(O200K.encode_ordinary(text))


def test_where_the_table_is_read_prose_is_held_at_little_more_than_it_has():
    request = asking("The quick brown fox jumps over the lazy dog. " * 400)
    truth = len(O200K.encode_ordinary(request.messages[0].content))
    assert truth <= most_input(request, OURS) <= truth + 20
    assert most_input(request, OTHER) > 2 * truth


def test_tools_tool_calls_and_formats_are_part_of_the_worst_case():
    tool = {"type": "function", "function": {"name": "f", "description": "d " * 500}}
    assert most_input(asking("hi", tools=[tool]), OURS) > 500
    call = ToolCall(id="1", name="look", arguments="x " * 500)
    assert (
        most_input(Request(model="m", messages=(Message(role="assistant", tool_calls=(call,)),)), OURS) > 500
    )


def png(width, height):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x06\0\0\0"


def jpeg(width, height):
    segment = b"\xff\xe1" + struct.pack(">H", 5_002) + b"\0" * 5_000
    return b"\xff\xd8" + segment + b"\xff\xc0\0\x11\x08" + struct.pack(">HH", height, width) + b"\x03" * 12


def picture(data, **more):
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"type": "image_url", "image_url": {"url": url, **more}}


PICTURES = {
    "png": png(640, 480),
    "jpeg": jpeg(640, 480),
    "gif": b"GIF89a" + struct.pack("<HH", 640, 480) + b"\0" * 8,
    "webp": b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480),
    "webp, lossless": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 639 | 479 << 14),
    "webp, extended": b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + b"\x7f\x02\0" + b"\xdf\x01\0",
}


@pytest.mark.parametrize("kind", PICTURES)
def test_the_size_of_a_picture_is_read_from_its_data(kind):
    assert picture_size(picture(PICTURES[kind])) == (640, 480)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8", b"\xff\xd8\xff\xe1\0\0" * 3, b"RIFF0000WEBP"]
)
def test_a_picture_that_is_none_has_no_size(data):
    assert picture_size(picture(data)) is None


@pytest.mark.parametrize(
    ("width", "height", "dearest"),
    [(256, 256, 1_090), (1024, 1024, 1_446), (1920, 1080, 2_768), (3840, 2160, 9_792), (4032, 3024, 14_364)],
)
def test_no_model_takes_more_for_a_picture_than_the_worst_case(width, height, dearest):
    """The dearest of Claude 4.5 and 5.5, Gemini 3, GPT-5.5 and GPT-6, as measured
    (huggingface.co/datasets/JOHNISKING/image-token-cost)."""
    request = asking((picture(png(width, height)),))
    assert most_input(request, OURS) >= dearest


def test_a_picture_behind_an_address_is_not_fetched_and_counts_as_the_largest(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    part = {"type": "image_url", "image_url": {"url": "https://example.org/photo.jpg"}}
    assert most_input(asking((part,)), OURS) > 14_364
    assert 500 < count_tokens(asking((part,)).messages, "gpt-4o") < 3_000


def test_sounds_and_files_count_by_their_data():
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 640_000, "format": "mp3"}}
    assert most_input(asking((sound,)), OURS) > 10_000
    file = {"type": "file", "file": {"file_data": "A" * 200_000}}
    assert most_input(asking((file,)), OURS) > 90_000
