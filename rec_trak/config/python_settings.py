"""Settings that a code base keeps in a Python file: the literals that it assigns. Not here: running or importing it.

What only running the file would tell is left out: calls, conditions, loops, names that are assigned a second time by
one of these. A value that is left out is missing, never an earlier one.
"""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import Any

from rec_trak.errors import ConfigError, reason

LARGEST = 2**20  # bytes
LEFT_OUT = object()
OPERATIONS = {ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b}
INSTEAD = "Write the settings as YAML (docs/checkpoints.md lists them) and name that file."


def read_python(path: str | Path) -> dict[str, Any]:
    """Name -> literal at the top of a Python file, and class name -> the literals of the class and its bases.

    Text, numbers, true, false, None, lists, tuples (as lists) and dictionaries of these are literals, and so are sums,
    differences and products of numbers. A class with a base that the file does not define is left out.

    Raises:
        ConfigError: the file is missing, is no Python, or is larger than LARGEST bytes.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path}: too large for settings. Got {path.stat().st_size:,} bytes. {INSTEAD}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own code, which nobody here can mend
            return _Scope(ast.parse(path.read_bytes()).body).literals()
    except OSError as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ConfigError(f"{path}: {problem}. Give the path of a YAML, JSON or Python file.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ConfigError):
            raise
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        problem = error.msg if isinstance(error, SyntaxError) else reason(error) or "nested too deeply"
        raise ConfigError(f"{path}: not valid Python: {line}{problem}. {INSTEAD}") from None


class _Scope:
    """What the statements of a file or a class leave behind: literals, LEFT_OUT, and classes by their names."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self.values: dict[str, Any] = {}
        for statement in body:
            self._take(statement)

    def literals(self) -> dict[str, Any]:
        """Plain values alone."""
        plain = {name: one.literals() if isinstance(one, _Scope) else one for name, one in self.values.items()}
        return {name: value for name, value in plain.items() if value is not LEFT_OUT}

    def _take(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.ClassDef):
            self.values[statement.name] = self._class(statement)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            self.values[statement.name] = LEFT_OUT
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            self._leave_out(statement)
            for target in targets:
                self._assign(target, _literal(statement.value))
        elif not isinstance(statement, ast.AnnAssign):
            self._leave_out(statement)

    def _class(self, statement: ast.ClassDef) -> Any:
        """The class with what it inherits; LEFT_OUT where a base that is not known may say more."""
        bases = [self.values.get(base.id) if isinstance(base, ast.Name) else None for base in statement.bases]
        known = [base for base in bases if isinstance(base, _Scope)]
        others = [base for base in statement.bases if not (isinstance(base, ast.Name) and base.id == "object")]
        if len(known) < len(others) or statement.keywords:
            return LEFT_OUT
        scope = _Scope(statement.body)
        for base in known:
            scope.values = base.values | scope.values
        return scope

    def _assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.values[target.id] = value
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):  # NRMSConfig.heads = 4
            owner = self.values.get(target.value.id)
            if isinstance(owner, _Scope):
                owner.values[target.attr] = value

    def _leave_out(self, statement: ast.stmt) -> None:
        """Forget whatever is assigned anywhere within, under conditions or not."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name | ast.Attribute) and not isinstance(node.ctx, ast.Load):
                self._assign(node, LEFT_OUT)
            elif isinstance(node, ast.alias):
                names = list(self.values) if node.name == "*" else [node.asname or node.name.split(".")[0]]
                self.values |= dict.fromkeys(names, LEFT_OUT)
            elif isinstance(getattr(node, "name", None), str):  # of a class, a function, a caught error, a capture
                self.values[node.name] = LEFT_OUT


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int | float | None) else LEFT_OUT
    if isinstance(node, ast.List | ast.Tuple):
        parts = [_literal(part) for part in node.elts]
        return LEFT_OUT if LEFT_OUT in parts else parts
    if isinstance(node, ast.Dict):
        keys, values = ([LEFT_OUT if part is None else _literal(part) for part in p] for p in (node.keys, node.values))
        whole = all(isinstance(key, str) for key in keys) and LEFT_OUT not in values
        return dict(zip(keys, values, strict=True)) if whole else LEFT_OUT
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _literal(node.operand)
        return LEFT_OUT if not _is_number(value) else -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        left, right = _literal(node.left), _literal(node.right)
        if _is_number(left) and _is_number(right):
            made = OPERATIONS[type(node.op)](left, right)
            return made if _is_number(made) else LEFT_OUT
    return LEFT_OUT


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63
