"""Zip archives as checkpoints use them: entries are looked into where they lie, and never unfold without bound."""

from __future__ import annotations

import struct
import zipfile
import zlib

from weightprint.errors import CheckpointError
from weightprint.formats.file_maps import FileMap
from weightprint.formats.limits import MAX_TENSORS, damaged, unfolded_limit

_LOCAL_HEADER = struct.Struct("<4s22xHH")


class Archive:
    """The entries of a zip archive.

    Raises CheckpointError for a damaged archive, for encrypted entries, for more entries than `limits` allows, and for
    one that would unfold to more than it may (`limits.unfolded_limit`).
    """

    def __init__(self, file: FileMap, path: str) -> None:
        self.file = file
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, UnicodeDecodeError) as error:
            raise damaged(f"a damaged zip archive ({error})") from error
        if len(entries) > 2 * MAX_TENSORS:
            raise CheckpointError(f"a zip archive of {len(entries):,} entries; at most {2 * MAX_TENSORS:,} are read")
        stored, unfolded = sum(e.compress_size for e in entries), sum(e.file_size for e in entries)
        if stored > file.size:
            raise CheckpointError(
                "a zip archive whose entries overlap", hint="no program writes such a file by accident"
            )
        if unfolded > unfolded_limit(stored):
            raise CheckpointError(
                f"a zip archive of {stored:,} bytes that would unfold to {unfolded:,}",
                hint="no checkpoint is compressed that far: not unfolded",
            )
        self.entries = {entry.filename: entry for entry in entries}
        self._sound: set[str] = set()

    def place(self, name: str) -> tuple[int, int]:
        """(offset in the file, stored size) of an entry's bytes."""
        entry = self.entries[name]
        header = bytes(self.file.view(entry.header_offset, _LOCAL_HEADER.size))
        magic, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if magic != b"PK\x03\x04":
            raise damaged(f"a damaged zip archive (no entry where {name!r} should be)")
        if entry.flag_bits & 1:
            raise CheckpointError(f"the entry {name!r} is encrypted", hint="unpack it with its password first")
        return entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length, entry.compress_size

    def is_stored(self, name: str) -> bool:
        """Whether an entry lies in the archive uncompressed."""
        return self.entries[name].compress_type == zipfile.ZIP_STORED

    def read(self, name: str) -> memoryview:
        """An entry's bytes: a view of the file where it is stored, unfolded otherwise. Its checksum is verified."""
        if name not in self.entries:
            raise damaged(f"the archive lacks {name!r}")
        entry = self.entries[name]
        data = self.file.view(*self.place(name))
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            data = memoryview(self._unfolded(name, data, entry.file_size + 1))
        elif entry.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(f"the entry {name!r} is compressed in a way that checkpoints do not use")
        if len(data) != entry.file_size:
            raise damaged(f"the entry {name!r} has another size than it says")
        if name not in self._sound:
            # PyTorch can leave the checksum out (set_crc32_options), and then writes 0
            if entry.CRC and zlib.crc32(data) != entry.CRC:
                raise damaged(f"the entry {name!r} is damaged (its checksum differs)")
            self._sound.add(name)
        return data

    def head(self, name: str, length: int) -> bytes:
        """The first `length` bytes of an entry (fewer where it has fewer), not checked against its checksum."""
        data = self.file.view(*self.place(name))
        if self.is_stored(name):
            return bytes(data[:length])
        return self._unfolded(name, data, length)

    @staticmethod
    def _unfolded(name: str, data: memoryview, length: int) -> bytes:
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, length)
        except zlib.error as error:
            raise damaged(f"the entry {name!r} is damaged ({error})") from error
