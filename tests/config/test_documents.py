"""YAML is read safely: with lines, within limits, without surprises."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from llmgate_plugins.config.document import plain_document
from llmgate_plugins.config.reading import document_of, read_file
from llmgate_plugins.errors import ConfigurationError, Problem


def refused(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        document_of(text, file="f.yaml")
    return caught.value.problems


def test_every_value_keeps_the_line_it_stands_on() -> None:
    document = document_of("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n")
    assert document.value == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    assert document.place.line_of(("b",)) == 2
    assert document.place.line_of(("b", 0)) == 3
    assert document.place.line_of(("b", 1, "d")) == 5


def test_a_path_that_is_not_there_has_the_line_of_what_is_around_it() -> None:
    assert document_of("a:\n  b: 1\n").place.line_of(("a", "missing", "deep")) == 1


def test_a_list_of_one_key_mappings_is_looked_through_by_key() -> None:
    place = document_of("fallbacks:\n  - a: [b]\n  - c: [d]\n").place
    assert place.line_of(("fallbacks", "c", 0)) == 3


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("yes", True),
        ("'yes'", "yes"),
        ("0.5", 0.5),
        ("~", None),
        ("2024-02-01", "2024-02-01"),
        ("!!str 12", "12"),
        ("12:30:45", 45045),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_scalars_are_read_as_litellm_reads_them_but_dates_stay_text(written: str, read: object) -> None:
    assert document_of(f"k: {written}").value == {"k": read}


def test_merge_keys_take_over_only_what_the_mapping_does_not_say() -> None:
    text = (
        "base: &base {a: 1, b: 2}\nown:\n  b: 3\n  <<: *base\n  c: 4\nboth:\n  <<: [{x: 1}, {x: 2, y: 3}]\n"
    )
    document = document_of(text)
    assert document.value["own"] == {"b": 3, "c": 4, "a": 1}
    assert document.value["both"] == {"x": 1, "y": 3}
    assert document.place.line_of(("own", "a")) == 1
    assert document.place.line_of(("own", "b")) == 3


def test_every_duplicate_key_is_told_with_both_lines() -> None:
    problems = document_of("a: 1\nb: {c: 1, c: 2}\na: 2\n").problems
    assert [(p.line, p.message) for p in problems] == [
        (2, "duplicate key 'c', first on line 2"),
        (3, "duplicate key 'a', first on line 1"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1, 2\nb: 3\n", 2, "not valid YAML"),
        ("a:\n\t- b\n", 2, "not valid YAML"),
        ("a: *nowhere\n", 1, "no anchor"),
        ("a: &a\n  b: *a\n", 2, "inside its own anchor"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: 1\n? [x]\n: 2\n", 2, "a key is a list"),
        ("a: b\x00", None, "not valid YAML"),
        ("[" * 51, 1, "nested more than 50 deep"),
    ],
)
def test_what_is_no_yaml_is_refused_at_its_line(text: str, line: int | None, words: str) -> None:
    (problem,) = refused(text)
    assert words in problem.message
    assert problem.line == line
    assert problem.remedy


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system", "!!binary", "!!timestamp", "!!set", "!custom", "!!python/name:os"],
)
def test_a_tag_that_is_not_plain_is_refused(tag: str) -> None:
    (problem,) = document_of(f"a: 1\nb: {tag} [x]\n" if "apply" in tag else f"a: 1\nb: {tag} x\n").problems
    assert problem.line == 2
    assert "is not allowed" in problem.message


def test_a_syntax_error_does_not_quote_the_line() -> None:
    (problem,) = refused("api_key: 'sk-canary-4711-abcdef\nb: 1")
    assert "canary" not in str(problem)


def laughs(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        uses = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{uses}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs(10, 9), "once aliases are followed"),
        (laughs(40, 9), "once aliases are followed"),
        (laughs(60, 2), "once aliases are followed"),
        ("a: &a [" + "x, " * 10 + "]\nb: [" + "*a, " * 101 + "]", "more than 100 aliases"),
        (
            "m0: &m0 {k0: 1, j0: 1}\n"
            + "".join(f"m{i}: &m{i} {{a: *m{i - 1}, b: *m{i - 1}, <<: *m{i - 1}}}\n" for i in range(1, 33)),
            "once aliases are followed",
        ),
        (
            "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 99)),
            "50 deep once aliases",
        ),
        ("[" * 500_000, "nested more than 50 deep"),
        ("{a: " * 200_000, "nested more than 50 deep"),
        ("- " * 300_000, "nested more than 50 deep"),
        ("- x\n" * 250_000, "more than 100,000 values"),
        (f"a: &a {'x' * 900_000}\nb: [" + "*a, " * 99 + "]", "once aliases are followed"),
        ("x" * (1024 * 1024 + 1), "larger than 1024 KiB"),
    ],
    ids=range(12),
)
def test_a_bomb_is_refused_quickly(text: str, words: str) -> None:
    began = time.thread_time()
    (problem,) = refused(text)
    assert time.thread_time() - began < 5
    assert words in problem.message


def test_a_bomb_is_refused_without_building_it() -> None:
    tracemalloc.start()
    try:
        for text in (laughs(10, 9), "[" * 500_000, f"a: &a {'x' * 900_000}\nb: [" + "*a, " * 99 + "]"):
            refused(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20


def test_a_hundred_aliases_are_fine() -> None:
    assert len(document_of("a: &a {x: 1}\nb: [" + "*a, " * 100 + "]").value["b"]) == 100


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [(b"a: 1\nb: \xff\xfe", "not UTF-8", 2), (b"x" * (1024 * 1024 + 1), "larger than 1024 KiB", None)],
)
def test_a_file_that_is_no_text_of_fitting_size_is_refused(
    tmp_path: Path, content: bytes, words: str, line: int | None
) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_file(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(path), line)
    assert words in problem.message


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_file(path).value == {"a": 1}


def test_a_missing_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigurationError, match=words):
            read_file(path)


def test_yaml_text_in_place_of_a_file_name_is_told() -> None:
    with pytest.raises(ConfigurationError, match="this is no file name"):
        read_file("model_list:\n  - x")


def test_a_python_object_that_holds_itself_is_refused() -> None:
    endless: dict[str, object] = {}
    endless["again"] = endless
    with pytest.raises(ConfigurationError, match="cycle"):
        plain_document(endless)
    wide: list[object] = []
    for _ in range(40):
        wide = [wide, wide]
    with pytest.raises(ConfigurationError, match="cycle"):
        plain_document({"a": wide})
