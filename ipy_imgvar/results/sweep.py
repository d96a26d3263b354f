"""The result of a sweep: a `Variations` that knows its axes, and which values made each picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ipy_imgvar.results.axes import same
from ipy_imgvar.results.variations import Variations

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from PIL.Image import Image

    from ipy_imgvar.images.source import Source
    from ipy_imgvar.results.variation import Variation

__all__ = ["Sweep", "SweepRecord"]


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """What a run's record says of a sweep.

    Parameters
    ----------
    axes
        Each axis and its values, JSON-safe; see `Sweep.axes`.
    key
        A digest of the sources, the settings and the axes: a later call with the same one may go on with the run.
    """

    axes: Mapping[str, Sequence[Any]]
    key: str = ""


class Sweep(Variations):
    """The pictures of every combination of some settings, source by source; the last axis changes fastest.

    Parameters
    ----------
    pictures
        In any order of a part of the sweep.
    axes
        Each axis and its values in normal form, JSON-safe: a strength as a number, a size as "256x256", an engine, a
        model, a fit and a prompt as text, a seed as a whole number, an option's value as its engine takes it.
    key
        See `SweepRecord`; "" where none is known.
    **run
        The other parameters of `Variations`.
    """

    def __init__(
        self,
        pictures: Iterable[Variation] = (),
        *,
        axes: Mapping[str, Sequence[Any]],
        key: str = "",
        **run: Any,
    ) -> None:
        super().__init__(pictures, **run)
        self.axes: dict[str, tuple[Any, ...]] = {name: tuple(values) for name, values in axes.items()}
        self.key = key
        # Made once: an axis may have thousands of values.
        self._places = {
            name: {same(value): at for at, value in enumerate(values)} for name, values in self.axes.items()
        }
        #: The reduced sources that a display has opened; all parts of a sweep share them.
        self.opened: dict[Source, Image | None] = {}

    @classmethod
    def in_order(cls, pictures: Iterable[Variation], record: SweepRecord, **run: Any) -> Self:
        """Return the sweep of pictures that were made in another order."""
        made = cls(pictures, axes=record.axes, key=record.key, **run)
        found = {_identity(each): at for at, each in reversed(list(enumerate(made)))}

        def order(picture: Variation) -> tuple[Any, ...]:
            # Without a number, as in a record that was edited, the source whose picture was made first is the first.
            number, source = picture.image_number, _identity(picture)
            return found[source] if number is None else number, made.place(picture), picture.index

        return made.with_pictures(sorted(made, key=order))

    @property
    def sources(self) -> list[Source]:
        """The images that were varied, each once, in their order."""
        return [each.source for each in self.sources_of_pictures()]

    def sources_of_pictures(self) -> list[Variation]:
        """Return the first picture of each source."""
        return list({_identity(each): each for each in reversed(self)}.values())[::-1]

    def place(self, picture: Variation) -> tuple[int, ...]:
        """Return a picture's position on each axis, from 0; -1 where its record names no value of the axis."""
        return tuple(
            places.get(same(picture.combination.get(name)), -1) for name, places in self._places.items()
        )

    @property
    def grid(self) -> list[Any]:
        """The pictures as nested lists, a level for each axis in the order of `axes`.

        With several images, one more level comes first, an element for each image. With `n` above 1, one more comes
        last, an element for each picture of a combination. None stands where no picture was made.
        """
        sources = [_identity(each) for each in self.sources_of_pictures()]
        # The first level is left out for one image, the last one for one picture of each combination.
        several = len(sources) > 1
        # A record may have lost its request.
        most = max((each.index for each in self), default=1) if self.request is None else self.request.n
        made = {
            (
                *([sources.index(_identity(each))] if several else []),
                *self.place(each),
                *([each.index - 1] if most > 1 else []),
            ): each
            for each in self
        }
        lengths = [len(values) for values in self.axes.values()]
        levels = [*([len(sources)] if several else []), *lengths, *([most] if most > 1 else [])]
        nested: list[Any] = _nested(made, levels)
        return nested

    @property
    def is_in_order(self) -> bool:
        """Whether the pictures are in the sweep's own order, each once, as its table shows them."""
        sources = [_identity(each) for each in self.sources_of_pictures()]
        places = [(sources.index(_identity(each)), self.place(each), each.index) for each in self]
        return places == sorted(set(places))

    def plot(self) -> Any:
        """Draw the table as a figure: values at rows and columns, the source first; one table below the other.

        Returns
        -------
        matplotlib.figure.Figure or PIL.Image.Image
            The figure, which pyplot does not know and so does not show again; without matplotlib, an image.

        Raises
        ------
        ImageVariationError
            If there are more than 256 pictures, or none; plot a slice then.
        """
        from ipy_imgvar.results.table import plot

        return plot.figure(self)


def _identity(picture: Variation) -> Hashable:
    """Return what tells a picture's source from the others of its run, also after the record was read back."""
    return picture.source.name if picture.image_number is None else picture.image_number


def _nested(
    made: Mapping[tuple[int, ...], Variation], lengths: Sequence[int], at: tuple[int, ...] = ()
) -> Any:
    if not lengths:
        return made.get(at)
    return [_nested(made, lengths[1:], (*at, index)) for index in range(lengths[0])]
