"""Whatever a model writes as a call, the desk answers with a result or a typed error; it never raises."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.world import Desk
from llmlab.world.desk import SCHEMAS, ToolError, calculate, parse

DESK = Desk()


def answered(text: str) -> list[dict]:
    """The desk's outcomes for the calls in a text, read as strict JSON (no NaN, no Infinity)."""

    def refuse(name):
        raise ValueError(name)

    message = parse(text)
    found = json.loads(DESK.result(message)["content"], parse_constant=refuse)
    return found if isinstance(found, list) else [found]


def called(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


@pytest.mark.parametrize(
    "expression",
    ["(" * 199 + "1", "-" * 199 + "1", "(" * 99 + "1" + ")" * 100, "9" * 180 + ".5*" + "9", "1e5", "1/0.0"],
)
def test_an_expression_without_measure_is_refused_or_computed(expression):
    try:
        assert float(calculate(expression))
    except ToolError as error:
        assert error.kind == "bad_arguments" and str(error)


@pytest.mark.parametrize(
    "expression", ["9" * 90 + ".0*" + "9" * 90 + "*" + "9" * 2, "*".join(["9" * 40 + ".5"] * 4) + "*9" * 10]
)
def test_long_products_have_a_value(expression):
    assert calculate(expression)


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>" + "[" * 100_000,
        called("search", "[" * 900 + "]" * 900),
        called("calculator", '{"expression": ' + "9" * 5000 + "}"),
        "<tool_call>" + "9" * 5000,
        called("convert", '{"value": 1e400, "unit": "mg", "to": "g"}'),
        called("convert", '{"value": NaN, "unit": "mg", "to": "g"}'),
        called("convert", '{"value": 9' + "0" * 4000 + ', "unit": "kg", "to": "mg"}'),
        called("search", '{"query": "\\ud800"}'),
        called("search", "null"),
        called("nothing", '{"a": ' + "{" * 3 + "}" * 3 + "}"),
    ],
)
def test_calls_without_measure_get_a_typed_error(text):
    assert all(o["error"] in ("unknown_tool", "bad_arguments", "not_found") for o in answered(text))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(SCHEMAS)),
    st.dictionaries(
        st.sampled_from(sorted({key for schema in SCHEMAS.values() for key in schema["properties"]})),
        VALUES,
        max_size=3,
    ),
)
def test_any_arguments_are_answered(name, arguments):
    for outcome in answered(called(name, json.dumps(arguments))):
        assert ("result" in outcome) != ("error" in outcome)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123456789+-*/(). ", min_size=1, max_size=200))
def test_any_expression_is_computed_or_refused(expression):
    try:
        float(calculate(expression))
    except ToolError as error:
        assert error.kind == "bad_arguments"
