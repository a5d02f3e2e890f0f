"""Which fields of the schema's structs the rooms read: values are followed through the source from what is annotated.

A container stands for its members, a class for its subclasses. A value whose class is not known is passed over, so that
a read without a known struct does not count.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import inspect

from segpipe.configuration.model_section import any_model

Classes = frozenset[str]
Scope = dict[str, Classes]
NONE: Classes = frozenset()
PASSING_ON = {
    "replace",
    "next",
    "list",
    "tuple",
    "sorted",
    "reversed",
    "enumerate",
    "zip",
    "filter",
    "max",
    "min",
    "cast",
}
"""Functions whose result is of the classes of their arguments."""


def structs_below(expected: inspect.Type) -> dict[str, inspect.StructType]:
    """Every struct that may stand at a place of a document or below it, by name."""
    found: dict[str, inspect.StructType] = {}
    waiting = [expected]
    while waiting:
        kind = waiting.pop()
        waiting += [*getattr(kind, "types", ()), *getattr(kind, "item_types", ())]
        if isinstance(kind, inspect.VarTupleType):
            waiting.append(kind.item_type)
        if isinstance(kind, inspect.StructType) and kind.cls.__name__ not in found:
            found[kind.cls.__name__] = kind
            waiting += [field.type for field in kind.fields]
    return found


def structs_at(expected: inspect.Type) -> Classes:
    """The names of the structs that may stand at a place, or in the list that stands there."""
    if isinstance(expected, inspect.CustomType):  # the section of any network family
        return structs_at(inspect.type_info(any_model()))
    members = [*getattr(expected, "types", ()), *getattr(expected, "item_types", ())]
    if isinstance(expected, inspect.VarTupleType):
        members.append(expected.item_type)
    if isinstance(expected, inspect.StructType):
        return frozenset({expected.cls.__name__})
    return frozenset().union(*map(structs_at, members))


class Reads:
    """The reads of fields in some modules.

    Args:
        structs: the schema's, by name.
        aliases: names of unions, and the structs in them.
        sources: texts of modules whose reads count.
        known: texts of modules that only say of what class things are.
    """

    def __init__(
        self,
        structs: Mapping[str, inspect.StructType],
        aliases: Mapping[str, Classes],
        sources: Iterable[str],
        known: Iterable[str] = (),
    ) -> None:
        self.structs, self.aliases = structs, aliases
        self.found: set[tuple[str, str]] = set()
        """(struct, field) of each read."""
        self._members: dict[str, dict[str, Classes]] = defaultdict(dict)
        self._bases: dict[str, list[str]] = {}
        self._returned: dict[str, Classes] = defaultdict(frozenset)
        self._keywords: dict[str, set[str]] = defaultdict(set)
        trees = [ast.parse(text) for text in sources]
        self._learn([*trees, *map(ast.parse, known)])
        for tree in trees:
            self._block(tree.body, {}, None)

    def _learn(self, trees: list[ast.Module]) -> None:
        """What classes have and functions return."""
        nodes = [node for tree in trees for node in ast.walk(tree)]
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self._bases = {node.name: [getattr(base, "id", "") for base in node.bases] for node in classes}
        for name, struct in self.structs.items():
            self._bases.setdefault(name, [])
            self._members[name] = {field.name: structs_at(field.type) for field in struct.fields}
        for node in nodes:
            if isinstance(node, ast.FunctionDef):
                self._returned[node.name] |= self._annotated(node.returns)
                self._keywords[node.name] |= {argument.arg for argument in node.args.kwonlyargs}
        for node in classes:
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    self._members[node.name].setdefault(item.target.id, self._annotated(item.annotation))
                elif isinstance(item, ast.FunctionDef):
                    self._members[node.name].setdefault(item.name, self._annotated(item.returns))
        for node in classes:
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    self._learn_attributes(node.name, method)

    def _learn_attributes(self, owner: str, method: ast.FunctionDef) -> None:
        scope = self._parameters(method, owner)
        for node in ast.walk(method):
            for target in node.targets if isinstance(node, ast.Assign) else ():
                if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
                    self._members[owner].setdefault(target.attr, self._classes(node.value, dict(scope)))
        self.found.clear()

    def _annotated(self, node: ast.expr | None) -> Classes:
        """The classes that an annotation or a pattern names, with their subclasses."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        named: set[str] = set()
        for part in ast.walk(node) if node is not None else ():
            name = getattr(part, "id", getattr(part, "attr", None))
            named |= self.aliases.get(name, frozenset({name} if name in self._bases else ()))
        while more := {name for name, bases in self._bases.items() if named.intersection(bases)} - named:
            named |= more
        return frozenset(named)

    def _parameters(self, function: ast.FunctionDef | ast.AsyncFunctionDef, owner: str | None) -> Scope:
        every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        scope = {argument.arg: self._annotated(argument.annotation) for argument in every}
        if owner is not None and every:
            scope[every[0].arg] = frozenset({owner})
        return scope

    def _block(self, body: list[ast.stmt], scope: Scope, owner: str | None) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                self._block(node.body, dict(scope), node.name)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._block(node.body, {**scope, **self._parameters(node, owner)}, None)
            elif isinstance(node, ast.Match):
                self._match(node, scope)
            else:
                self._statement(node, scope, owner)

    def _statement(self, node: ast.stmt, scope: Scope, owner: str | None) -> None:
        blocks = ("body", "orelse", "finalbody", "handlers")
        for name, value in ast.iter_fields(node):
            for part in (value if isinstance(value, list) else [value]) if name not in blocks else ():
                if isinstance(part, ast.AST):
                    self._visit(part, scope)
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value, scope)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            scope[node.target.id] = self._annotated(node.annotation)
        elif isinstance(node, ast.For):
            self._bind(node.target, node.iter, scope)
        for name in blocks[:-1]:
            self._block(getattr(node, name, []), scope, owner)
        for handler in getattr(node, "handlers", []):
            self._block(handler.body, scope, owner)

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.expr):
            self._classes(node, scope)
            return
        for child in ast.iter_child_nodes(node):
            self._visit(child, scope)

    def _bind(self, target: ast.expr, value: ast.expr, scope: Scope) -> None:
        if isinstance(target, ast.Tuple):
            is_pairwise = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
            values = value.elts if is_pairwise else [value] * len(target.elts)
            for each, its in zip(target.elts, values, strict=True):
                self._bind(each, its, scope)
        elif isinstance(target, ast.Name):
            scope[target.id] = self._classes(value, scope)

    def _classes(self, node: ast.expr, scope: Scope) -> Classes:
        """The classes that an expression's value may have; reads in it are noted."""
        match node:
            case ast.Name():
                return scope.get(node.id, NONE)
            case ast.Attribute(value=value):
                owners = self._classes(value, scope)
                return self._member(owners, node.attr) if isinstance(node.ctx, ast.Load) else NONE
            case ast.Call():
                return self._call(node, scope)
            case ast.IfExp():
                self._classes(node.test, scope)
                return self._classes(node.body, scope) | self._classes(node.orelse, scope)
            case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
                return NONE.union(*[self._classes(part, scope) for part in parts])
            case ast.Subscript(value=value) | ast.Starred(value=value):
                self._visit(getattr(node, "slice", ast.Pass()), scope)
                return self._classes(value, scope)
            case ast.NamedExpr():
                scope[node.target.id] = self._classes(node.value, scope)
                return scope[node.target.id]
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node, dict(scope))
            case ast.Dict():
                self._table(node)
        for child in ast.iter_child_nodes(node):
            self._visit(child, scope)
        return NONE

    def _member(self, owners: Iterable[str], field: str) -> Classes:
        found: Classes = NONE
        for owner in owners:
            if field in self._members[owner]:
                if owner in self.structs:
                    self.found.add((owner, field))
                found |= self._members[owner][field]
            else:
                found |= self._member(self._bases.get(owner, ()), field)
        return found

    def _call(self, node: ast.Call, scope: Scope) -> Classes:
        arguments = [self._classes(argument, scope) for argument in node.args]
        for keyword in node.keywords:
            self._classes(keyword.value, scope)
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name == "getattr" and isinstance(node.args[1], ast.Constant):
            return self._member(arguments[0], str(node.args[1].value))
        result = self._classes(node.func, scope)
        if name in self._bases:
            return frozenset({name})
        if name == "map":
            return self._returned[getattr(node.args[0], "id", "")]
        return result or (NONE.union(*arguments) if name in PASSING_ON else self._returned[name])

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope
    ) -> Classes:
        for loop in node.generators:
            self._bind(loop.target, loop.iter, scope)
            for test in loop.ifs:
                self._classes(test, scope)
        if isinstance(node, ast.DictComp):
            self._classes(node.key, scope)
            return self._classes(node.value, scope)
        return self._classes(node.elt, scope)

    def _table(self, node: ast.Dict) -> None:
        """In a table from structs to functions, the names of a function's keyword-only parameters are fields."""
        for key, value in zip(node.keys, node.values, strict=True):
            name = getattr(key, "attr", getattr(key, "id", ""))
            function = getattr(value, "attr", getattr(value, "id", ""))
            for keyword in self._keywords[function] if name in self.structs else ():
                self._member([name], keyword)

    def _match(self, node: ast.Match, scope: Scope) -> None:
        classes = self._classes(node.subject, scope)
        for case in node.cases:
            inner = dict(scope)
            self._pattern(case.pattern, classes, inner)
            if isinstance(node.subject, ast.Name) and isinstance(case.pattern, ast.MatchClass):
                inner[node.subject.id] = self._annotated(case.pattern.cls)
            self._block(case.body, inner, None)

    def _pattern(self, pattern: ast.pattern, classes: Classes, scope: Scope) -> None:
        if isinstance(pattern, ast.MatchAs) and pattern.name:
            scope[pattern.name] = classes
        if isinstance(pattern, ast.MatchClass):
            for field, inner in zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True):
                self._pattern(inner, self._member(self._annotated(pattern.cls), field), scope)
