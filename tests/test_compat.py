"""A new release of Darts, Lightning or joblib that moves what we build on is named by these tests.

What we override has the host's own signature and says so with `@override`; private names of a host
are borrowed in `compat.py` alone. Each check is shown a fault that it has to find.
"""

import ast
import importlib
import inspect
import pickle
import pickletools
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.likelihood_models.base import LikelihoodType
from darts.utils.utils import SeasonalityMode
from pytorch_lightning import Callback
from typing_extensions import override

import darts_lstm_seq

PACKAGE = "darts_lstm_seq"
SOURCE = Path(darts_lstm_seq.__file__).parent
HOSTS = {"darts", "joblib", "lightning_fabric", "pytorch_lightning"}


# --- what is overridden --------------------------------------------------------------------------


class Override(NamedTuple):
    """A method of ours in the place of a host's."""

    ours: type
    theirs: type
    name: str

    def __str__(self) -> str:
        return f"{self.ours.__name__}.{self.name}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not is_special(name)


def is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def top(cls: type) -> str:
    return cls.__module__.split(".")[0]


def is_ours(cls: type) -> bool:
    return top(cls) in (PACKAGE, __name__)


def classes() -> Iterator[type]:
    """Yield the classes that the package defines."""
    for module in pkgutil.walk_packages(darts_lstm_seq.__path__, f"{PACKAGE}."):
        if not module.name.endswith("__main__"):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and value.__module__ == module.name:
                    yield value


def kind_and_function(cls: type, name: str) -> tuple[str, Any]:
    """Return what a class has under a name, and the function behind it, None if there is none."""
    attribute = vars(cls)[name]
    match attribute:
        case property():
            return "property", attribute.fget
        case staticmethod() | classmethod():
            return type(attribute).__name__, attribute.__func__
    return "method", attribute if inspect.isfunction(attribute) else None


def overrides(cls: type) -> Iterator[Override]:
    """Yield what a class, or a class of ours among its bases, overrides of a host's classes."""
    for position, ours in enumerate(cls.__mro__):
        for name in vars(ours) if is_ours(ours) else ():
            if is_special(name) or kind_and_function(ours, name)[1] is None:
                continue
            bases = (base for base in cls.__mro__[position + 1 :] if top(base) in HOSTS)
            theirs = next((base for base in bases if name in vars(base)), None)
            if theirs is not None:
                yield Override(ours, theirs, name)


def parameters(function: Callable[..., Any], follow_wrapped: bool) -> list[tuple[Any, ...]]:
    signature = inspect.signature(function, follow_wrapped=follow_wrapped)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def passes_everything_on(function: Any) -> bool:
    """Tell whether a function calls another one with its `*args, **kwargs`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function.__code__)))
    calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any("*args" in call and "**kwargs" in call for call in calls)


def faults(override: Override) -> list[str]:
    """Say what of an override differs from the method that it stands for."""
    cls, base, name = override
    (kind, ours), (their_kind, theirs) = kind_and_function(cls, name), kind_and_function(base, name)
    found = []
    if not getattr(ours, "__override__", False):
        found.append(f"{override} overrides {base.__name__}.{name} without `@override`")
    if kind != their_kind:
        return [*found, f"{override} is a {kind}, {base.__name__}.{name} a {their_kind}"]
    own = parameters(ours, follow_wrapped=False)
    expected = parameters(theirs, follow_wrapped=True)
    named = [parameter for parameter in own if "VAR" not in parameter[1].name]
    # Lightning's `training_step(self, *args, **kwargs)`: ours to choose
    is_open = [parameter[0] for parameter in expected] == ["self", "args", "kwargs"]
    is_wrapper = (
        not is_private(name)
        and len(own) == len(named) + 2
        and named == expected[: len(named)]
        and passes_everything_on(ours)
    )
    if own != expected and not is_open and not is_wrapper:
        found.append(
            f"{override}{inspect.signature(ours, follow_wrapped=False)} does not have the"
            f" signature of {base.__name__}.{name}{inspect.signature(theirs)}"
        )
    return found


OVERRIDES = list(dict.fromkeys(override for cls in classes() for override in overrides(cls)))


@pytest.mark.parametrize("override", OVERRIDES, ids=str)
def test_an_override_is_that_of_the_host(override: Override) -> None:
    assert not faults(override)


def test_overrides_are_found() -> None:
    assert {"_create_model", "configure_gradient_clipping", "load", "forward"} <= {
        override.name for override in OVERRIDES
    }


def orphans(cls: type) -> list[str]:
    """List the methods that say `@override` and override nothing: nobody would call such a hook."""
    return [
        name
        for name in vars(cls)
        if getattr(kind_and_function(cls, name)[1], "__override__", False)
        and not any(name in vars(base) for base in cls.__mro__[1:])
    ]


@pytest.mark.parametrize("cls", list(classes()), ids=lambda cls: cls.__name__)
def test_what_says_override_overrides(cls: type) -> None:
    assert not orphans(cls)


class Faulty(MixedCovariatesTorchModel):
    def _setup_for_train(self, train_dataset: Any) -> Any: ...

    @override
    def _fit_wrapper(self, *args: Any, **kwargs: Any) -> Any:
        super()._fit_wrapper(*args, **kwargs)

    @override
    def _check_ckpt_parameters(self, tfm_save: Any = None) -> None: ...

    @override
    def supports_static_covariates(self) -> bool: ...

    @override
    def fit(self, *args: Any, **kwargs: Any) -> Any: ...

    @override
    def _setup_for_training(self) -> None: ...


class Mixin:
    def on_train_end(self, trainer: Any) -> None: ...


class Mixed(Mixin, Callback): ...


@pytest.mark.parametrize(
    ("cls", "name", "complaints"),
    [
        (Faulty, "_setup_for_train", ["without `@override`", r"\(self, train_dataset: .*val_data"]),
        (Faulty, "_fit_wrapper", [r"_fit_wrapper\(self, \*args.*\(self, series"]),
        (Faulty, "_check_ckpt_parameters", [r"tfm_save: Any = None\).*tfm_save\)"]),
        (Faulty, "supports_static_covariates", ["is a method, .* a property"]),
        (Faulty, "fit", [r"fit\(self, \*args.*\(self, series"]),
        (Mixed, "on_train_end", ["without `@override`", r"trainer: Any\).*pl_module"]),
    ],
)
def test_a_wrong_override_is_found(cls: type, name: str, complaints: list[str]) -> None:
    (wrong,) = (override for override in overrides(cls) if override.name == name)
    found = faults(wrong)
    assert len(found) == len(complaints)
    for message, pattern in zip(found, complaints, strict=True):
        assert re.search(pattern, message), message


def test_a_renamed_hook_is_found() -> None:
    assert orphans(Faulty) == ["_setup_for_training"]


# --- what is borrowed ----------------------------------------------------------------------------


def borrowed(text: str) -> set[str]:
    """Return the private names in a source text that a host defines, imported or reached.

    Reached: as an attribute of what was imported from a host, or of any object that is not
    imported, if the package has no such name itself. `self._x` and `super()._x` are ours to use.
    """
    tree, found = ast.parse(text), set[str]()
    modules: dict[str, str] = {}  # dotted names by the names that the text has for them
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                imported = {(name.asname or name.name).split(".")[0]: name.name for name in names}
            case ast.ImportFrom(module=str(module), names=names):
                imported = {name.asname or name.name: f"{module}.{name.name}" for name in names}
            case _:
                continue
        modules |= imported
        for path in imported.values():
            package, *parts = path.split(".")
            found |= {part for part in parts if package in HOSTS and is_private(part)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not is_private(node.attr):
            continue
        owner = node.value
        while isinstance(owner, ast.Attribute):
            owner = owner.value
        root = owner.id if isinstance(owner, ast.Name) else ""
        if root in modules:
            if modules[root].split(".")[0] in HOSTS:
                found.add(node.attr)
        elif not is_own_object(node.value) and node.attr not in OWN_NAMES:
            found.add(node.attr)
    return found


def is_own_object(node: ast.expr) -> bool:
    """Tell whether an expression is `self`, `cls` or `super()`."""
    return ast.unparse(node) in ("self", "cls", "super()")


def names_defined(text: str) -> Iterator[str]:
    """Yield the functions, classes, variables and attributes of `self` that a text defines."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


SOURCES = {path.relative_to(SOURCE).as_posix(): path.read_text() for path in SOURCE.rglob("*.py")}
OWN_NAMES = {name for text in SOURCES.values() for name in names_defined(text)}


@pytest.mark.parametrize("path", sorted(SOURCES.keys() - {"compat.py"}))
def test_private_names_are_borrowed_in_compat_alone(path: str) -> None:
    assert not borrowed(SOURCES[path])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "from darts.utils.data.torch_datasets._data_module import TorchDataModule",
            "_data_module",
        ),
        ("def f():\n    from darts.utils.data.torch_datasets.utils import _batch", "_batch"),
        ("import joblib._parallel_backends", "_parallel_backends"),
        ("import joblib\njoblib.parallel._backend", "_backend"),
        ("import pytorch_lightning as pl\npl.Trainer._run(1)", "_run"),
        ("from darts import TimeSeries\nTimeSeries._sort()", "_sort"),
        ("def f(series):\n    return series.all._time_index", "_time_index"),
    ],
)
def test_a_borrowed_name_is_found(text: str, found: str) -> None:
    assert borrowed(text) == {found}


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    def f(self):\n        return self._hook(super()._hook())",
        "import torch\ntorch._foreach_copy_()",
        "from darts_lstm_seq.nn import _own",
        "from darts.models import ARIMA as _Arima\n_Arima.__name__",
    ],
)
def test_what_is_ours_may_be_private(text: str) -> None:
    assert not borrowed(text)


def test_compat_borrows() -> None:
    assert {"_data_module", "_batch_collate_fn_train", "_time_index"} <= borrowed(
        SOURCES["compat.py"]
    )


@pytest.mark.parametrize("member", [LikelihoodType.Quantile, SeasonalityMode.ADDITIVE])
def test_members_of_enums_are_pickled_by_their_value(member: Enum) -> None:
    # by `getattr`, as in Python 3.11.2, no model with a likelihood could be loaded
    assert darts_lstm_seq.LSTMSeqModel  # whose module says so
    written = pickle.dumps(member, protocol=2)
    names = {str(argument) for _, argument, _ in pickletools.genops(written)}
    assert not any("getattr" in name for name in names)
    assert pickle.loads(written) is member
