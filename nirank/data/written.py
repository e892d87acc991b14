"""Documents with a further field: texts that something wrote for them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nirank.data.columns import gather, join_texts, to_array
from nirank.data.corpus import Field, FieldName, field_of, hashable, values_of
from nirank.data.fingerprint import Fingerprint
from nirank.data.ids import ITERATED, Ids, as_ordinals
from nirank.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from nirank.data.types import Content, Corpus


class Written:
    """A corpus whose documents have one more field, `name`, with the `texts` that were written for them.

    With `append` the content of a document is what it was, a blank, and its text; without, the content is what it was.
    Nothing is copied. Raises `BadInput` for a field that is there already, and where texts cannot be appended to what
    is no text.
    """

    def __init__(self, corpus: Corpus, name: str, texts: pa.ChunkedArray, append: bool = True) -> None:
        own: tuple[str, ...] = tuple(getattr(corpus, "fields", ()))
        if name in own:
            raise BadInput(f"there is a field {name!r} in {corpus!r} already: write into another one.")
        self.corpus, self.name, self.append = corpus, name, append
        self._texts, self._views = texts, dict[FieldName, Field]()
        #: The names of the fields.
        self.fields: tuple[str, ...] = (*own, name)

    def __len__(self) -> int:
        return len(self.corpus)

    def __repr__(self) -> str:
        return f"<{self.corpus!r} with {self.name}>"

    def __getitem__(self, which: Any) -> Any:
        """The contents at an array of ordinals or a slice, as a list; for one integer the content itself."""
        if isinstance(which, (int, np.integer)):
            return self[[range(len(self))[which]]][0]
        contents = self.corpus[which]
        return self._joined(contents, as_ordinals(which, len(self))) if self.append else contents

    def __iter__(self) -> Iterator[Content]:
        for start in range(0, len(self), ITERATED):
            yield from self[start : start + ITERATED]

    def column(self, name: str, which: slice | ArrayLike) -> list[str]:
        """One field of the documents at `which`. Raises `BadInput` for a name that is not among `fields`."""
        if name != self.name:
            texts: list[str] = list(field_of(self.corpus, name)[which])  # type: ignore[arg-type]
            return texts
        written: list[str] = gather(self._texts, as_ordinals(which, len(self))).to_pylist()
        return written

    def values(self, name: str) -> pa.Array | pa.ChunkedArray:
        """The values of one field, `[documents]`, as Arrow has them."""
        return self._texts if name == self.name else values_of(self.corpus, name)

    def field(self, name: str | Sequence[str]) -> Field:
        """One field as a corpus of its own, or several as one text; the same object each time."""
        return self._views.setdefault(hashable(name), Field(self, name))

    @property
    def ids(self) -> Ids:
        """The string id of each ordinal."""
        return self.corpus.ids

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and contents, equal to that of any corpus of these."""
        if not self.append:
            return self.corpus.fingerprint
        digest = Fingerprint()
        for start in range(0, len(self), ITERATED):
            here = np.arange(start, min(start + ITERATED, len(self)))
            digest.add(self.ids.gather(here), to_array(self[here]))
        return digest.hex()

    def _joined(self, contents: Any, ordinals: np.ndarray[Any, Any]) -> list[str]:
        odd = next((content for content in contents if not isinstance(content, str)), None)
        if odd is not None:
            raise BadInput(
                f"a text cannot be appended to a document of type {type(odd).__name__}: set `append=False`, and have a "
                f"stage read the field, `field={self.name!r}`."
            )
        joined: list[str] = join_texts([to_array(contents), gather(self._texts, ordinals)]).to_pylist()
        return joined
