"""Data sets in Parquet form, as the Hugging Face hub has them.

Images: a column `image` (struct of `bytes`, a PNG, JPEG or lossless WebP file, and `path`) and a column `label`
(int64). Texts: `sentence` or `text`, and `label`. Tables: their own columns, and `label`. The names of the classes are
in the schema metadata, key `huggingface`: {"info": {"features": {"label": {"names": [...]}}}}. A `path` that ends in
`_from_jpeg` before its suffix says that the pixels come from a lossy copy, and not from the published file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cloudchamber._core.errors import CloudchamberError, DamagedFile, FileAccess
from cloudchamber.data.encoded import Shape, decoded, missing
from cloudchamber.data.raw import RENEW, RawImages, checked_labels

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_ROWS_AT_ONCE = 1000
LOSSY = "_from_jpeg"


def read_images(path: Path, shape: Shape) -> RawImages:
    """Read and decode a Parquet file of images.

    Raises:
        DamagedFile: if it is not one, or its images are not of `shape`.
        FileAccess: if it cannot be read, or a library for it is not installed.
    """
    with _opened(path) as file:
        count = file.metadata.num_rows
        labels = torch.tensor(file.read(["label"]).column("label").to_pylist(), dtype=torch.int64)
        lossy = sum(Path(path or "").stem.endswith(LOSSY) for path in _field(file, "path"))
        contents = (content or b"" for content in _field(file, "bytes"))
        pixels = decoded(contents, count, shape, str(path))
        names = _class_names(file.schema_arrow, int(labels.max()) if count else 0)
    note = f"{lossy} of {count} images are decoded from a lossy copy" if lossy else ""
    return RawImages(pixels, checked_labels(labels, names, str(path)), names, note)


def read_columns(path: Path) -> dict[str, list[int] | list[str]]:
    """Read a Parquet file of texts or of a table: the values of each column.

    Raises:
        DamagedFile: if it is not one.
        FileAccess: if it cannot be read, or a library for it is not installed.
    """
    with _opened(path) as file:
        return file.read().to_pydict()


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise FileAccess(missing("pyarrow", str(path))) from error
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except CloudchamberError:
        raise
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:  # OSError: a page cannot be unpacked
        raise DamagedFile(f"{path} must be Parquet with the columns of its kind; got: {error}. {RENEW}") from error


def _field(file: pq.ParquetFile, name: str) -> Iterator[Any]:
    """Yield one field of every image, without holding those of all."""
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[f"image.{name}"]):
        yield from batch.column("image").field(name).to_pylist()


def _class_names(schema: pa.Schema, largest: int) -> tuple[str, ...]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features["label"]["names"])
    except (KeyError, TypeError, ValueError):
        return tuple(map(str, range(largest + 1)))
