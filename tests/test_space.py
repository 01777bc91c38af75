"""Search dimensions: their two notations, what lies in them, what is refused."""

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.errors import RequestError
from tuning.space import Choice, Dimension, Float, Int, ends, number, parse_dimension, parse_option, to_plain

repeatable = settings(derandomize=True, deadline=None)

finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1).filter(lambda text: number(text) == text)
scalars = st.one_of(words, st.integers(), finite, st.booleans())


@st.composite
def ranges(draw: st.DrawFn) -> Float | Int:
    kind, numbers = draw(st.sampled_from([(Float, finite), (Int, st.integers())]))
    low, high = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
    return kind(low, high, log=draw(st.booleans()) and low > 0)


choices = st.lists(scalars, min_size=1, max_size=5, unique_by=repr).map(lambda values: Choice(tuple(values)))
dimensions = st.one_of(ranges(), choices)


@repeatable
@given(dimension=dimensions)
def test_dimension_survives_its_yaml_notation(dimension: Dimension) -> None:
    text = yaml.safe_dump(to_plain(dimension))
    again = parse_dimension("key", yaml.safe_load(text), real=isinstance(dimension, Float))
    assert again == dimension
    assert type(again) is type(dimension)


@repeatable
@given(dimension=ranges())
def test_range_survives_the_command_lines_notation(dimension: Float | Int) -> None:
    option = f"key={dimension.low!r}:{dimension.high!r}" + (":log" if dimension.log else "")
    key, plain = parse_option(option)
    assert key == "key"
    assert parse_dimension(key, plain, real=isinstance(dimension, Float)) == dimension


@repeatable
@given(values=st.lists(words, min_size=1, max_size=5, unique=True))
def test_names_survive_the_command_lines_notation(values: list[str]) -> None:
    key, plain = parse_option(f"key={','.join(values)}")
    assert parse_dimension(key, plain, real=False) == Choice(tuple(values))


@repeatable
@given(dimension=ranges())
def test_range_holds_its_ends_and_nothing_beyond(dimension: Float | Int) -> None:
    low, high = ends(dimension)
    assert low in dimension
    assert high in dimension
    below: Any = math.nextafter(low, -math.inf) if isinstance(dimension, Float) else low - 1
    above: Any = math.nextafter(high, math.inf) if isinstance(dimension, Float) else high + 1
    assert below not in dimension
    assert above not in dimension


@pytest.mark.parametrize(
    ("dimension", "value", "is_in"),
    [
        (Float(0.0, 1.0), 0, True),
        (Float(0.0, 1.0), True, False),
        (Float(0.0, 1.0), "0.5", False),
        (Float(0.0, 1.0), math.nan, False),
        (Int(1, 8), 3, True),
        (Int(1, 8), 3.0, False),
        (Choice(("sgd", "adam")), "adam", True),
        (Choice(("sgd", "adam")), "Adam", False),
    ],
)
def test_value_lies_in_dimension(dimension: Dimension, value: object, is_in: bool) -> None:
    assert (value in dimension) is is_in


@pytest.mark.parametrize(
    ("option", "plain"),
    [
        ("lr=1e-4:0.3:log", {"low": 1e-4, "high": 0.3, "log": True}),
        ("dropout=0:0.5", {"low": 0, "high": 0.5, "log": False}),
        ("n_hidden=8:64", {"low": 8, "high": 64, "log": False}),
        ("x=-2:-1", {"low": -2, "high": -1, "log": False}),
        ("optimizer=sgd,adam", {"choices": ["sgd", "adam"]}),
        ("batch_size=32,64", {"choices": [32, 64]}),
        ("augment=true,false", {"choices": [True, False]}),
        ("optimizer=sgd", {"choices": ["sgd"]}),
    ],
)
def test_option_is_read(option: str, plain: dict[str, Any]) -> None:
    assert parse_option(option)[1] == plain


@pytest.mark.parametrize("option", ["lr", "lr=", "=1:2", "", "lr:1:2"])
def test_option_without_key_and_range_is_refused(option: str) -> None:
    with pytest.raises(RequestError, match="--search must be KEY=LOW:HIGH"):
        parse_option(option)


@pytest.mark.parametrize("value", ["1:2:3", "1:2:linear", "1:2:log:log", "1:2:"])
def test_option_with_a_crooked_range_is_refused(value: str) -> None:
    with pytest.raises(RequestError, match="a range is LOW:HIGH or LOW:HIGH:log"):
        parse_option(f"lr={value}")


@pytest.mark.parametrize(
    ("low", "high", "real", "kind"),
    [(1, 10, False, Int), (1, 10, True, Float), (1.0, 10, False, Float), ("1e-3", "1", False, Float)],
)
def test_whole_ends_make_a_whole_range_unless_the_hyperparameter_is_real(
    low: object, high: object, real: bool, kind: type[Dimension]
) -> None:
    assert type(parse_dimension("key", {"low": low, "high": high}, real=real)) is kind


def test_bare_list_is_a_choice() -> None:
    assert parse_dimension("key", [1, 2, "x"], real=False) == Choice((1, 2, "x"))
    assert parse_dimension("key", ("a", "b"), real=False) == Choice(("a", "b"))
    with pytest.raises(RequestError, match=r"a pair of numbers may mean .* tuning.Float\(0.001, 0.1\)"):
        parse_dimension("lr", (1e-3, 0.1), real=True)


def test_dimension_in_python_is_taken_as_it_is() -> None:
    dimension = Float(0.1, 0.2)
    assert parse_dimension("key", dimension, real=True) is dimension


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"low": 2, "high": 1}, "`low < high` must hold, but got low=2, high=1"),
        ({"low": 1, "high": 1}, "to fix the value, put it under `fixed`"),
        ({"low": 0, "high": 1, "log": True}, "`low > 0` must hold on a log scale, but got low=0"),
        ({"low": -1, "high": 1, "log": True}, "`low > 0` must hold on a log scale"),
        ({"low": 0.0, "high": math.inf}, "must be finite"),
        ({"low": math.nan, "high": 1.0}, "must be finite"),
        ({"low": "a", "high": 1}, "`low` must be a number, but got 'a'"),
        ({"low": 0, "high": True}, "`high` must be a number, but got True"),
        ({"low": 0, "high": 1, "log": "yes"}, "`log` must be true or false, but got 'yes'"),
        ({"low": 0, "high": 1, "step": 2}, "Unknown key: 'step'"),
        ({"low": 0}, "must be {low: L, high: H[, log: true]} or {choices: [A, B]}"),
        ({"choices": []}, "at least one value"),
        ({"choices": ["a", "a"]}, "must differ"),
        ({"choices": "a,b"}, "`choices` must be a list, but got 'a,b'"),
        ({"choices": [1], "low": 0}, "Unknown key: 'low'"),
        (0.1, "but got 0.1"),
        ("0.1:0.2", "but got '0.1:0.2'"),
    ],
)
def test_impossible_dimension_is_refused_by_name(plain: object, message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        parse_dimension("lr", plain, real=False)
    assert message in str(refusal.value)
    assert "search.lr" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),  # YAML 1.1 takes it for text
        ("64", 64),
        ("-0.5", -0.5),
        ("true", True),
        ("false", False),
        (" adam ", "adam"),
        ("None", "None"),
        (3, 3),
        (True, True),
    ],
)
def test_number_reads_a_scalar(text: object, value: object) -> None:
    assert number(text) == value
    assert type(number(text)) is type(value)
