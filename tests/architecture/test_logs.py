"""What is logged is known beforehand: constant sentences, and fields in which nobody's data can stand."""

import ast
from collections.abc import Iterator
from pathlib import Path

from lms.kernel.logs import ECS_FIELDS, FIELDS

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("shared/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def logged() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a logger of ours, and where it stands."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            if ast.unparse(node.func.value) in {"_log", "structlog.get_logger(__name__)"}:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def fields(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """The fields of a line, and what is given for each."""
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value
        elif isinstance(keyword.value, ast.Dict):
            for name, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                yield str(ast.literal_eval(name)) if name is not None else "**", value
        else:
            yield "**", keyword.value


def test_what_happened_is_a_constant_sentence() -> None:
    found = list(logged())
    assert len(found) > 20, "the test no longer finds the log lines"
    for place, call in found:
        assert len(call.args) == 1, f"{place}: name the fields"
        assert isinstance(call.args[0], ast.Constant), f"{place}: put what varies into fields"


def test_every_field_is_known_to_hold_nobodys_data() -> None:
    for place, call in logged():
        for name, _ in fields(call):
            known = name in FIELDS or name in ECS_FIELDS or name == "exc_info"
            assert known, f"{place}: enter {name!r} in lms.kernel.logs.FIELDS if no personal data can stand in it"


def test_an_exception_is_logged_as_such_and_never_as_its_text() -> None:
    for place, call in logged():
        for name, value in fields(call):
            calls = {ast.unparse(one.func) for one in ast.walk(value) if isinstance(one, ast.Call)}
            text = isinstance(value, ast.JoinedStr) or calls & {"str", "repr", "format"}
            assert not text, f"{place}: give {name!r} the exception itself, or a figure or name of its own"
