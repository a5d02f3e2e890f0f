"""The exported JSON Schema and the texts under the fields."""

from __future__ import annotations

import json

import msgspec
import pytest

from segpipe.configuration import Configuration, json_schema, load_preset, to_document
from segpipe.configuration.explain import field_descriptions, format_path, parse_path
from segpipe.configuration.model_section import any_model


def sections_of(expected: msgspec.inspect.Type, seen: set[type]) -> set[type]:
    """Every struct class that a document can contain."""
    if isinstance(expected, msgspec.inspect.StructType) and expected.cls not in seen:
        seen.add(expected.cls)
        for field in expected.fields:
            sections_of(field.type, seen)
    for member in (*getattr(expected, "types", ()), *getattr(expected, "item_types", ())):
        sections_of(member, seen)
    if isinstance(expected, msgspec.inspect.VarTupleType):
        sections_of(expected.item_type, seen)
    return seen


def all_sections() -> set[type]:
    """Those of the document, and those of all network families."""
    seen: set[type] = set()
    for expected in msgspec.inspect.multi_type_info((Configuration, any_model())):
        sections_of(expected, seen)
    return seen


def test_every_field_of_every_section_has_a_description() -> None:
    texts = field_descriptions()
    sections = all_sections()
    assert len(sections) > 30
    missing = [
        f"{section.__name__}.{name}"
        for section in sections
        for name in section.__struct_fields__
        if not texts[section.__name__].get(name)
    ]
    assert missing == []


def test_every_section_is_frozen_and_refuses_unknown_keys() -> None:
    for section in all_sections():
        config = section.__struct_config__
        assert config.frozen, section
        assert config.forbid_unknown_fields, section


def test_schema_carries_the_texts_and_is_json() -> None:
    document = json.loads(json.dumps(json_schema()))
    head = document["$defs"]["HeadConfig"]["properties"]
    assert head["channels"]["description"].startswith("Width of the head")
    assert document["$defs"]["AdamW"]["properties"]["lr"]["description"] == "Learning rate before the schedule."
    assert document["$defs"]["HeadConfig"]["additionalProperties"] is False


@pytest.mark.peer
def test_schema_accepts_presets_and_refuses_a_misspelt_key() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    document = to_document(load_preset("segformer-b0-cocostuff"))
    validator.validate(document)
    document["model"]["varient"] = "b0"
    assert not validator.is_valid(document)


@pytest.mark.parametrize("text", ["model", "train.transforms[1].size[0]", "a[1][2].b", "labels.names[12]"])
def test_paths_are_parsed_and_written_back(text: str) -> None:
    assert format_path(parse_path(text)) == text


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a[x]", "a[-1]", "[0]", "a[1]b"])
def test_text_that_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        parse_path(text)
