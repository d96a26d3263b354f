"""The kind of an object that was passed as an image, told by the classes that it inherits from.

Libraries derive classes of their own (fastai's image from Pillow's, geopandas' series from pandas'), so the class
itself says little. Nothing is imported for it: an object of a library that is not loaded can't be there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["inherits", "looks_like_image", "members"]

#: Libraries whose arrays tell their number of dimensions without computing anything.
_ARRAY_LIBRARIES: Final = frozenset({"numpy", "torch", "jaxlib", "jax", "tensorflow", "cupy", "xarray"})
#: numpy's kinds of dtype whose elements can be paths or images: object, bytes, str, and numpy 2's strings.
_NOT_NUMBERS: Final = frozenset("OSUT")


def inherits(value: Any, *classes: str) -> bool:
    """Return whether a value is of one of these classes, or of one that is derived from them.

    Parameters
    ----------
    value
        Anything; `isinstance` would run code of some values, such as a proxy's, and this does not.
    classes
        Each as its library and its own name, "PIL.Image": the modules between them change with the library's version.

    Examples
    --------
    >>> from pathlib import PosixPath
    >>> inherits(PosixPath("cat.png"), "pathlib.Path"), inherits("cat.png", "pathlib.Path")
    (True, False)
    """
    return any(f"{library}.{name}" in classes for library, name in _ancestors(type(value)))


def members(value: Any) -> Sequence[Any] | None:
    """Return the images of a value that holds several, or None for a single image and for a value that is no image.

    Lists, tuples and `Variations` hold several, as do pandas' series, and one-dimensional arrays of paths.
    """
    if issubclass(type(value), (list, tuple)) or inherits(value, "ipy_imgvar.Variations"):
        several: Sequence[Any] = value
        return several
    if inherits(value, "pandas.Series", "pandas.Index", "pandas.ExtensionArray"):
        return list(value)
    if inherits(value, "numpy.ndarray") and value.ndim <= 1 and value.dtype.kind in _NOT_NUMBERS:
        return list(value.reshape(-1).tolist())
    return None


def looks_like_image(value: Any) -> bool:
    """Return whether `load_sources` would try a value as an image; only types are looked at, nothing is evaluated.

    A text never counts: most texts are no paths.
    """
    kind = type(value)
    if kind in (list, tuple):
        return bool(value) and type(value[0]) not in (list, tuple) and looks_like_image(value[0])
    if inherits(
        value,
        "PIL.Image",
        "matplotlib.Figure",
        "IPython.Image",
        "ipy_imgvar.Variation",
        "ipy_imgvar.Variations",
    ):
        return True
    if not any("__array__" in base.__dict__ for base in kind.__mro__):
        return issubclass(kind, (bytes, bytearray, Path))
    libraries = {library for library, _ in _ancestors(kind)}
    if libraries & _ARRAY_LIBRARIES:
        return getattr(value, "ndim", 0) in (2, 3)
    return "pandas" not in libraries


def _ancestors(kind: type) -> list[tuple[str, str]]:
    """Return the library and the name of a class and of all it is derived from."""
    return [
        (base.__module__.partition(".")[0], base.__name__)
        for base in kind.__mro__
        if isinstance(base.__module__, str)  # a class may call anything its module
    ]
