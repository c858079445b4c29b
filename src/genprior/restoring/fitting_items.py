"""Items as they are stored, brought into the shape that a prior or an operator needs."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from genprior.restoring.given_pictures import GivenPicture
from genprior.restoring.placing import FULLY, Frame, frame_of
from genprior.restoring.sources import Shape, Source, fitted, is_picture


@dataclass(frozen=True)
class Item:
    """An image to be restored.

    Attributes:
        place: Among the items of the job.
        number: All that is random about it derives from this.
        y: Its measurement, without leading dimension.
        parameters: Of the operator for it, (1, ...) each.
        truth: The image (C, H, W) itself, where it is known.
        given: The picture as the user gave it, damaged or whole; None for measurements that are none.
        frame: Where it stands on the prior's canvas; None where it has the size of the prior, or was converted to it.
        known: Pixels (h, w) of the given picture, or of y, that are known; None: all are, or the operator mixes them.
        keeps: Whether known pixels are to come back exactly as they were given.
        is_converted: Whether it was made smaller, or grey, for the prior.
        note: What a user should know of it, or None.
        shape: (C, H, W) of the image that the prior makes for it.
    """

    place: int
    number: int
    y: Tensor
    parameters: dict[str, Tensor] = field(default_factory=dict)
    truth: Tensor | None = None
    given: GivenPicture | None = None
    frame: Frame | None = None
    known: Tensor | None = None
    keeps: bool = False
    is_converted: bool = False
    note: str | None = None
    shape: Shape = ()


@dataclass(frozen=True)
class OpenedItem:
    """An item as it is stored.

    Attributes:
        place, number: As `Item` has them.
        label: What messages call it.
        raw: Its numbers; (C, h, w) of an image.
        given: The picture that it is; None for measurements that are none.
        note: What looks wrong with it, or None.
    """

    place: int
    number: int
    label: str
    raw: Tensor
    given: GivenPicture | None
    note: str | None = None


def opened_item(source: Source, place: int) -> OpenedItem:
    """Returns an item as it is stored; raises as `Source.read` does."""
    given = source.given(place)
    raw = source.read(place) if given is None else given.image()
    doubt = None if given is None else given.doubt()
    return OpenedItem(place, source.numbers[place], source.labels[place], raw, given, doubt)


@dataclass(frozen=True)
class Fitting:
    """How items come into the shape that a prior, or an operator, needs.

    Attributes:
        shape: (C, H, W), or of a measurement that is no image.
        resize: Convert images of any other size or colour.
        enlarge: Put images that are smaller, in no more colours, onto a canvas of the shape.
        smooth: Interpolate enlarged images; else pixels are repeated, so that noise stays as strong as it is.
        sides: Heights and widths that the prior takes beside its own, for the message; None: no others.
    """

    shape: Shape
    resize: bool
    enlarge: bool = True
    smooth: bool = True
    sides: range | None = None

    def item(self, stored: OpenedItem) -> Item:
        """Returns an item without parameters; raises `GenpriorError` for another shape."""
        item = self._fitted(stored)
        return replace(item, note=joined_notes(stored.note, item.note))

    def _fitted(self, stored: OpenedItem) -> Item:
        raw, enlarges = stored.raw, self.enlarge and stored.given is not None and is_picture(self.shape)
        frame = frame_of(tuple(raw.shape), self.shape) if enlarges else None
        if frame is None or raw.shape == self.shape:
            y = fitted(raw, stored.label, self.shape, resize=self.resize, also=self._also(raw, enlarges=enlarges))
            is_other = stored.given is not None and y.shape != raw.shape
            note = (
                f"converted to the size and colours of the prior: comes back as {words_of(y.shape)}"
                if is_other
                else None
            )
            return Item(stored.place, stored.number, y, given=stored.given, is_converted=is_other, note=note)
        y = raw.expand(self.shape[0], -1, -1)
        if raw.shape[1:] == self.shape[1:]:  # grey in a prior of colour
            return Item(stored.place, stored.number, y.contiguous(), given=stored.given)
        y = frame.into(y, smooth=self.smooth)
        note = f"smaller than the prior: enlarged to {words_of(self.shape)}, and brought back to its size"
        return Item(stored.place, stored.number, y, given=stored.given, frame=frame, note=note)

    def _also(self, raw: Tensor, *, enlarges: bool) -> str:
        """What else would have been taken in place of an item, in words."""
        if self.sides is not None and raw.ndim == 3 and len(raw) <= self.shape[0]:
            return f", or sides of {self.sides[0]} to {self.sides[-1]} pixels"
        return " or smaller" if enlarges else ""

    def mask(self, known: Tensor, item: Item) -> Tensor:
        """Returns the mask (1, H, W) of 0 and 1 in this shape, of one (1, h, w) in the size of the stored item."""
        if item.frame is not None:
            return item.frame.mask_into(known)
        if not item.is_converted:
            return known
        small = fitted(known, "the mask", (1, *self.shape[1:]), resize=True, argument="mask")
        return (small >= FULLY).float()


def joined_notes(*notes: str | None) -> str | None:
    """Returns all notes as one, or None where there are none."""
    return "; ".join(note for note in notes if note is not None) or None


def words_of(shape: Shape) -> str:
    """Example: "3x32x32"."""
    return "x".join(map(str, shape))
