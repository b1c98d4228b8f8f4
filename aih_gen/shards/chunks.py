"""Reading the chunks of one dataset, each checked before HDF5 unpacks it.

HDF5 unpacks whatever a chunk claims to hold: a few kilobytes may ask for gigabytes, and a chunk that holds too little
is filled up with whatever lay in memory. So what a chunk will become is read off its first bytes, and nothing is
unpacked that is not exactly as large as the schema says.
"""

from __future__ import annotations

import functools
import math
import os
import zlib

import h5py

from aih_gen.typing import AnyArray, Codec

CHECKSUM = 4
"""Bytes that fletcher32 adds to a chunk."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_HEADER = 18
"""Bytes of the longest header of a Zstd frame (RFC 8878, section 3.1.1.1)."""


class ChunkedDataset:
    """A dataset that ``inspect.check`` has accepted.

    HDF5's own objects are used, without h5py's around them, as a large data set opens many.

    Args:
        dataset: it, in an open file.
        codec: what its chunks are compressed with; None where they are only checksummed.
        descriptor: of the file.
    """

    def __init__(self, dataset: h5py.h5d.DatasetID, codec: Codec | None, descriptor: int) -> None:
        self._dataset = dataset
        self._codec = codec
        self._descriptor = descriptor
        self._shape = dataset.shape
        self._chunks = dataset.get_create_plist().get_chunk()
        self._bytes = math.prod(self._chunks) * dataset.dtype.itemsize
        self._row = h5py.h5s.create_simple((1, *self._shape[1:]))
        self._start_of_row = (0,) * (len(self._shape) - 1)

    def __len__(self) -> int:
        return int(self._shape[0])

    @functools.cached_property
    def _array(self) -> h5py.Dataset:
        """Reads small rows fastest, once it is made."""
        return h5py.Dataset(self._dataset)

    def read_row(self, row: int, out: AnyArray) -> None:
        """Read one row into ``out`` (1, ...), C-contiguous and of the dataset's type.

        Raises:
            OSError, ValueError: its bytes are damaged.
        """
        self._check(row)
        if self._codec is None:
            out[0] = self._array[row]
            return
        # Straight into the caller's memory: a new array for every image would cost as much as unpacking it.
        place = self._dataset.get_space()
        place.select_hyperslab((row, *self._start_of_row), out.shape)
        self._dataset.read(self._row, place, out)

    def read_rows(self, start: int, stop: int) -> AnyArray:
        """Some rows as a new array; raises as ``read_row``."""
        size = self._chunks[0]
        for row in range(start - start % size, stop, size):
            self._check(row)
        return self._array[start:stop]

    def _check(self, row: int) -> None:
        """Raise ValueError unless the chunk of this row is there and unpacks to its full size, no less and no more."""
        chunk = self._dataset.get_chunk_info_by_coord((row, *self._start_of_row))
        if chunk.byte_offset is None:
            raise ValueError("expected a chunk, found none")
        if chunk.filter_mask or chunk.size > self._most_stored():
            raise ValueError(f"expected at most {self._most_stored()} bytes with all filters, found {chunk.size}")
        found = self._unpacked(chunk.byte_offset, chunk.size)
        if found != self._bytes:
            raise ValueError(f"expected a chunk of {self._bytes} bytes, found {found}")

    def _most_stored(self) -> int:
        """Upper bound of a chunk's stored size with any codec."""
        return self._bytes + CHECKSUM + (0 if self._codec is None else self._bytes // 128 + 1024)

    def _unpacked(self, offset: int, size: int) -> int | None:
        """Size in bytes of a stored chunk after unpacking; None where it is not known before."""
        if self._codec is None:
            return size - CHECKSUM
        if self._codec == "zstd":
            return zstd_content_size(os.pread(self._descriptor, min(size, MAX_HEADER), offset))
        stream = zlib.decompressobj()
        try:
            return len(stream.decompress(os.pread(self._descriptor, size, offset), self._bytes + 1))
        except zlib.error:
            return None


def zstd_content_size(header: bytes) -> int | None:
    """The content size that the first bytes of a Zstd frame state (RFC 8878); None where they state none."""
    if len(header) < 6 or header[:4] != ZSTD_MAGIC:
        return None
    descriptor = header[4]
    single_segment = descriptor >> 5 & 1
    start = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3]
    length = (single_segment, 2, 4, 8)[descriptor >> 6]
    field = header[start : start + length]
    if not length or len(field) < length:
        return None
    return int.from_bytes(field, "little") + (256 if length == 2 else 0)
