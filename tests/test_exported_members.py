import importlib
import pkgutil

import pytest

import ipy_imgvar

PUBLIC = [
    "Client",
    "Secret",
    "Sweep",
    "Variation",
    "Variations",
    "history",
    "last",
    "load_ipython_extension",
    "unload_ipython_extension",
    "variations",
]
MODULES = sorted(
    each.name
    for each in pkgutil.walk_packages(ipy_imgvar.__path__, "ipy_imgvar.")
    if "__main__" not in each.name
)


def test_all_is_pinned():
    """What users import is this list: a name that comes or goes is a decision."""
    known = set(PUBLIC) | {"VariationPanel"}  # the panel arrives with its own module
    assert set(PUBLIC) <= set(ipy_imgvar.__all__) <= known


def test_all_is_sorted():
    """`__all__` is in order and has no doubles."""
    assert list(ipy_imgvar.__all__) == sorted(set(ipy_imgvar.__all__))


@pytest.mark.parametrize("name", ipy_imgvar.__all__)
def test_every_name_resolves(name):
    """Every promised name is there, and the same object each time."""
    assert getattr(ipy_imgvar, name) is getattr(ipy_imgvar, name)


def test_dir_lists_what_is_loaded_later():
    """Completion sees the names that are loaded when first used."""
    assert set(ipy_imgvar.__all__) <= set(dir(ipy_imgvar))


def test_version():
    """The version is the distribution's."""
    assert ipy_imgvar.__version__[0].isdigit()


def test_unknown_name():
    """A name that is not there is an `AttributeError` that says so, as for any module."""
    with pytest.raises(AttributeError, match="module 'ipy_imgvar' has no attribute 'variation_s'"):
        _ = ipy_imgvar.variation_s


def test_star_import():
    """A star import brings exactly the promised names."""
    names = {}
    exec("from ipy_imgvar import *", names)  # noqa: S102
    assert set(names) - {"__builtins__"} == set(ipy_imgvar.__all__)


def test_every_module_says_what_it_offers():
    """Where a module has an `__all__`, every name in it exists, and is there once."""
    offers = {name: (module, getattr(module, "__all__", [])) for name, module in loaded().items()}
    assert len(offers) > 250
    assert [name for name, (_, names) in offers.items() if len(names) != len(set(names))] == []
    missing = [
        (name, each)
        for name, (module, names) in offers.items()
        for each in names
        if not hasattr(module, each)
    ]
    assert missing == []


def test_every_module_says_what_it_is_for():
    """Each module can be imported, and begins with a docstring."""
    assert [name for name, module in loaded().items() if not module.__doc__] == []


def loaded():
    """Return all modules of the package by name."""
    return {name: importlib.import_module(name) for name in MODULES}
