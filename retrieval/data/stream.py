"""Regular text at full speed: blocks of a stream become columns, whatever their number."""

import io
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from retrieval.data.compressed import Bytes
from retrieval.data.table import categories

BLOCK = 2**22

# Distinct texts of a column that are found block by block before they are made one list again.
PENDING = 1_000_000

# Texts of which most come once are told by so many.
MANY = 10_000

ENDS = b"\r\n"


class Watched(io.RawIOBase):
    """A stream that counts lines as they pass, and sees what makes a text irregular."""

    def __init__(self, stream: Bytes) -> None:
        super().__init__()
        self._stream = stream
        self._ends, self._trailing, self._quotes, self._last = 0, b"", 0, b""
        self.odd = False  # bytes that are no text, or stand for what was none

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes, fewer at the end."""
        data = self._stream.read(-1 if size is None else size)
        seen = self._last + data  # what is over the edge of two blocks is seen too
        self._quotes += data.count(b'"')
        self._ends += _ends(data) - (self._last[-1:] == b"\r" and data[:1] == b"\n")
        self.odd = self.odd or b"\0" in data or b"\xef\xbf\xbd" in seen
        kept = data.rstrip(ENDS)
        self._trailing = data[len(kept) :] if kept else self._trailing + data
        self._last = seen[-2:]
        return data

    @property
    def lines(self) -> int:
        """How many lines there are, without blank ones at the end."""
        return self._ends - _ends(self._trailing) + 1

    @property
    def open_quote(self) -> bool:
        """Whether a quote may be left open."""
        return self._quotes % 2 == 1


def regular_columns(
    stream: Bytes, names: Sequence[str], separator: str, *, skip: int, quotes: bool
) -> pd.DataFrame | None:
    """Return the columns of regular text; None where it is anything but regular.

    Arrow refuses a line with too few or too many fields; pandas fills up the one and cuts the
    other.

    Args:
        stream: Bytes of the file.
        names: Names of the columns.
        separator: One character.
        skip: Number of lines before the rows.
        quotes: Whether fields may be quoted.
    """
    watched = Watched(stream)
    columns = [Column() for _ in names]
    try:
        with arrow_csv.open_csv(
            watched,
            arrow_csv.ReadOptions(
                use_threads=False,
                column_names=[str(place) for place in range(len(names))],
                skip_rows=skip,
                block_size=BLOCK,
            ),
            arrow_csv.ParseOptions(delimiter=separator, quote_char='"' if quotes else False),
            arrow_csv.ConvertOptions(
                column_types={str(place): pa.large_string() for place in range(len(names))},
                null_values=[],
            ),
        ) as batches:
            for batch in batches:
                for column, values in zip(columns, batch.columns, strict=True):
                    column.add(values)
    except pa.ArrowException:
        return None
    # Blank lines and quoted fields over many lines would put rows on wrong line numbers.
    if watched.odd or columns[0].rows + skip != watched.lines or (quotes and watched.open_quote):
        return None
    return pd.DataFrame(
        {name: column.taken() for name, column in zip(names, columns, strict=True)}, copy=False
    )


class Column:
    """A column that grows: whole numbers as long as all are, else distinct texts and their codes.

    Where the first many texts hardly ever come again, they are kept as they are.

    Numbers are only taken for such where they are written as they would be printed, so that the
    texts are never lost: 007 and 0x10 are none.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._chunks: list[pa.Array] = []
        self._whole, self._distinct = True, False
        self._merged = 0  # distinct texts in the first chunk, which holds all that were merged

    def add(self, texts: pa.Array) -> None:
        """Take up a block of texts."""
        self.rows += len(texts)
        if self._whole:
            if (numbers := _whole(texts)) is not None:
                self._chunks.append(numbers)
                return
            numbers_before, self._chunks, self._whole = self._chunks, [], False
            for chunk in numbers_before:
                self._add_texts(chunk.cast(pa.large_string()))
        self._add_texts(texts)

    def taken(self) -> pd.Series:
        """Return the column `(N,)`, and hold it no longer."""
        if self._whole:
            chunks, self._chunks = self._chunks, []
            numbers = pa.chunked_array(chunks, pa.int64()).to_numpy()
            del chunks
            pa.default_memory_pool().release_unused()
            return pd.Series(numbers, copy=False)
        if self._distinct:
            texts, self._chunks = pa.chunked_array(self._chunks), []
            return pd.Series(texts.to_pandas(), dtype=str)
        merged, self._chunks = self._merge(), []
        return categories(
            merged.indices.to_numpy(), pd.Index(merged.dictionary.to_pandas(), dtype=str)
        )

    def _add_texts(self, texts: pa.Array) -> None:
        encoded = texts if self._distinct else texts.dictionary_encode()
        if not self._chunks and MANY < len(texts) < 2 * len(encoded.dictionary):
            encoded, self._distinct = texts, True
        self._chunks.append(encoded)
        if self._distinct:
            return
        pending = sum(len(chunk.dictionary) for chunk in self._chunks[1:])
        if pending > max(PENDING, self._merged):
            self._chunks = [self._merge()]
            self._merged = len(self._chunks[0].dictionary)

    def _merge(self) -> pa.DictionaryArray:
        return pa.chunked_array(self._chunks).unify_dictionaries().combine_chunks()


def _whole(texts: pa.Array) -> pa.Array | None:
    """Return texts as whole numbers, None where one of them is not written as it is printed."""
    try:
        numbers = texts.cast(pa.int64())
    except pa.ArrowException:
        return None
    for sign in ("0", "-0"):
        suspects = texts.filter(pc.starts_with(texts, sign))
        if not pc.all(pc.equal(suspects, "0"), min_count=0).as_py():
            return None
    return numbers


def _ends(data: bytes) -> int:
    """Return how many lines end in data, in LF, CR or both."""
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(ENDS) if returns else 0)
