"""YAML as data: nothing that makes objects, no aliases, and bounded work."""

import contextlib
import random
import time

import pytest
import yaml

from segpipe.configuration.strict_yaml import parse_yaml, read_yaml
from segpipe.errors import ConfigurationError

TEXT = """--- # as Python's yaml.dump writes it
a: !!python/tuple
- 512
- 256
day: 2021-03-04
c: [1, 2.5, {x: y, z: [true, null]}]
d: {}
e:
  - - 1
    - 2
  - k: v
    l: 3
  - 'it''s'   # comment
  -
f:
"g h": "a: b # c"
lr: 1.0e-05
short: 1e-3
path: /data/set-1#2
"""


def test_nested_collections_scalars_and_tuples_are_read():
    assert parse_yaml(TEXT, origin="t") == {
        "a": [512, 256],
        "day": "2021-03-04",
        "c": [1, 2.5, {"x": "y", "z": [True, None]}],
        "d": {},
        "e": [[1, 2], {"k": "v", "l": 3}, "it's", None],
        "f": None,
        "g h": "a: b # c",
        "lr": 1e-5,
        "short": 1e-3,
        "path": "/data/set-1#2",
    }
    assert parse_yaml("", origin="t") is None


def random_value(rng, depth=0):
    kind = rng.randrange(7 if depth < 3 else 5)
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {f"{rng.choice('ab_-')}k{index}": random_value(rng, depth + 1) for index in range(rng.randrange(4))}
    texts = [
        "abc",
        "a b",
        "it's",
        "a: b",
        "yes",
        "- x",
        "#z",
        "12",
        "a #b",
        "[x]",
        "!t",
        "&a",
        "null",
        "~",
        "key:",
        "a,b",
    ]
    return [
        rng.randrange(-100, 10**6),
        rng.uniform(-1, 1) * 10.0 ** rng.randrange(-9, 9),
        True,
        None,
        rng.choice(texts),
    ][kind]


@pytest.mark.parametrize("flow", [False, None])
def test_what_pyyaml_writes_is_read_back(flow):
    rng = random.Random(0)
    for _ in range(200):
        value = {"root": random_value(rng)}
        assert parse_yaml(yaml.safe_dump(value, default_flow_style=flow), origin="t") == value


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: !!python/object/apply:os.system [ls]", 1),
        ("a: !!binary aGk=", 1),
        ("a: !<tag:yaml.org,2002:python/name:os.system> ''", 1),
        ("a: 1\na: 2", 2),
        ("{a: 1, 'a': 2}", 1),
        ("a: 1\n  b: 2", 2),
        ("a: 1\n\tb: 2", 2),
        ("a: *nothing", 1),
        ("a: &x [1]\nb: *x", 2),
        ("a: &x [*x]", 1),
        ("? [1, 2]\n: b", 1),
        ("a: [1, 2", 2),
        ("a: 'open", 1),
        ("a: b: c", 1),
        ("- 1\nb: 2", 2),
        ("a: [1] 2", 1),
        ("a: 1\n---\nb: 2", 2),
        ("a: " + "9" * 5000, 1),
        ("a: " + "[" * 1000 + "]" * 1000, 1),
        ("- " * 1000 + "x", 1),
    ],
)
def test_what_is_not_read_is_refused_with_its_line(text, line):
    with pytest.raises(ConfigurationError, match=rf"^file\.yml: line {line}: "):
        parse_yaml(text, origin="file.yml")


def test_a_damaged_text_is_a_value_or_a_configuration_error():
    rng, refused = random.Random(0), 0
    for _ in range(500):
        damaged = list(TEXT)
        for _ in range(4):
            damaged[rng.randrange(len(damaged))] = rng.choice("[]{}:-&*!|>'\"# \n\t,ab1")
        try:
            parse_yaml("".join(damaged), origin="t")
        except ConfigurationError:
            refused += 1
    assert 0 < refused < 500


@pytest.mark.parametrize(
    ("content", "message"), [(b"a: \xff", "UTF-8"), (b"#" * 2**21, "bytes or more"), (None, "no file")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "variant.yml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"(variant\.yml.*{message}|{message}.*variant\.yml)"):
        read_yaml(tmp_path / "variant.yml")


@pytest.mark.parametrize(
    "text",
    [
        "a: b" + " " * 200_000 + "x: y",
        "a: " + "9" * 200_000,
        "a: " + "1:" * 100_000 + "1",
        "a:\n" + "  - x\n" * 40_000,
        "{" + ", ".join(f"{index * (2**61 - 1)}: 1" for index in range(9000)) + "}",
        "model: {_target_: a" + " " * 200_000 + "x}",
        "[" * 100_000,
        "? " * 100_000,
        "'" + "''" * 100_000,
    ],
)
def test_no_text_within_the_limit_takes_long(text):
    began = time.process_time()
    with contextlib.suppress(ConfigurationError):
        parse_yaml(text, origin="t")
    assert time.process_time() - began < 2.0
