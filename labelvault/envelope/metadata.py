"""What is known of an item besides its content; sealed in the same payload, so none of it shows."""

from dataclasses import dataclass
from typing import Annotated, Final

from labelvault.errors import FormatError
from labelvault.wire.schema import Count, Fixed, OneOf, Text, UInt

KINDS: Final = ("guideline", "rubric", "gold", "task", "attachment")
MAX_METADATA_BYTES: Final = 32 * 1024
MAX_REQUIRES: Final = 255
MAX_CONTENT_BYTES: Final = 64 * 1024 * 1024
"""What `seal_item` and `open_item` take: they hold an item in memory as a whole."""
MAX_STREAM_BYTES: Final = 64 * 1024**3
"""What `seal_stream` takes; `SealedReader` opens it in ranges."""


@dataclass(frozen=True, slots=True)
class Label:
    """One name and value that the client attached, for example a task's category."""

    name: Annotated[str, Text(200, 1)]
    value: Annotated[str, Text(1000)]


@dataclass(frozen=True, slots=True)
class Metadata:
    """An item's sealed metadata.

    Attributes:
        kind: guideline, rubric, gold, task or attachment.
        name: what people call it: a file name, or a task's source id.
        media_type: of the content, for example `text/markdown`.
        size: of the content, in bytes, before padding.
        labels: the client's.
        requires: item ids that open with this one; sorted, each once.
    """

    kind: Annotated[str, OneOf(*KINDS)]
    name: Annotated[str, Text(1000, 1)]
    media_type: Annotated[str, Text(200, 1)]
    size: Annotated[int, UInt(0, 2**52)]
    labels: Annotated[tuple[Label, ...], Count(0, 64)]
    requires: Annotated[tuple[Annotated[bytes, Fixed(16)], ...], Count(0, MAX_REQUIRES)]

    def __post_init__(self) -> None:
        if list(self.requires) != sorted(set(self.requires)):
            raise FormatError("required ids are sorted and different")
