"""The samples of an `.eval` archive of Inspect: a ZIP file with one JSON member for each."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from flames.errors import InputError, need_extra
from flames.storage.foreign.inspect_log import with_model
from flames.storage.foreign.shape import inner
from flames.storage.json_rows import DECODER
from flames.storage.text_files import open_binary, parse_json

MOST_BYTES = 256 * 2**20
"""The largest member that is unpacked: a few packed bytes may stand for very many."""

_MOST_TIMES = 500  # a real log packs to a twentieth
_ZSTANDARD = 93  # what Inspect writes since 2026; zipfile knows it from Python 3.14 on
_LOCAL = struct.Struct("<4s22xHH")  # a member's own header: signature, length of name and extra
_SAMPLE = re.compile(r"samples/.*_epoch_(\d+)(\.json|/sample\.json)")
_HEADERS = ("header.json", "_journal/start.json")


def samples(path: str) -> Iterator[Any]:
    """Yields the samples of an archive, all of the first epoch first, each with the run's model."""
    with open_binary(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
            what = f"is no whole ZIP archive ({error}); if it is an Excel file, name it .xlsx"
            raise InputError(what, path=path) from None
        members = _Members(archive, file, path)
        found = [(match, name) for name in members.sizes if (match := _SAMPLE.fullmatch(name))]
        header = next((name for name in _HEADERS if name in members.sizes), None)
        if not found:
            what = "a ZIP archive, but no log of Inspect; if it is an Excel file, name it .xlsx"
            what = "a log of Inspect without samples" if header else what
            raise InputError(f"is {what}", path=path)
        run = members.json(header) if header else None
        for match, name in sorted(found, key=lambda each: int(each[0][1][:9])):
            sample = members.json(name)
            if match[2] != ".json":
                sample = members.assembled(sample, name.removesuffix("sample.json"))
            yield with_model(sample, run)


class _Members:
    """The members of an archive, none unpacked beyond its bounds."""

    def __init__(self, archive: zipfile.ZipFile, file: IO[bytes], path: str) -> None:
        self._archive, self._file, self._path = archive, file, path
        infos = [info for info in archive.infolist() if not info.is_dir()]
        self.sizes = {info.filename: info.file_size for info in infos}
        if len(self.sizes) != len(infos):
            raise InputError("is a ZIP archive that holds a member twice", path=path)
        packed = sum(info.compress_size for info in infos)
        if sum(self.sizes.values()) > max(MOST_BYTES, _MOST_TIMES * packed):
            raise InputError("unpacks to far more than any log would: refused", path=path)

    def json(self, name: str) -> Any:
        """Returns the JSON of a member."""
        try:
            raw = self._bytes(self._archive.getinfo(name))
            return parse_json(raw.decode("utf-8"), None, None, DECODER)
        except UnicodeDecodeError:
            raise InputError(f"{name} is not text in UTF-8", path=self._path) from None
        except InputError as error:
            raise InputError(f"{name} {error.message}", path=self._path) from None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, struct.error,
                NotImplementedError, RuntimeError) as error:  # fmt: skip
            what = f"{name} cannot be unpacked: {error}"
            raise InputError(what, path=self._path) from None

    def _bytes(self, info: zipfile.ZipInfo) -> bytes:
        with self._opened(info) as member:
            raw = member.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES or info.file_size > MOST_BYTES:
            raise InputError(f"has more than {MOST_BYTES >> 20} MB")
        if len(raw) != info.file_size:
            raise EOFError("it is cut off")
        return raw

    def _opened(self, info: zipfile.ZipInfo) -> IO[bytes]:
        if info.compress_type != _ZSTANDARD or hasattr(zipfile, "ZIP_ZSTANDARD"):
            return self._archive.open(info)
        need_extra("table", "an Inspect log packed with Zstandard", "pyarrow")
        import pyarrow

        self._file.seek(info.header_offset)
        signature, name, extra = _LOCAL.unpack(self._file.read(_LOCAL.size))
        if signature != b"PK\x03\x04":
            raise EOFError("its header is not where it should be")
        self._file.seek(name + extra, io.SEEK_CUR)
        packed = pyarrow.BufferReader(self._file.read(info.compress_size))
        stream: IO[bytes] = pyarrow.CompressedInputStream(packed, "zstd")
        return stream

    def assembled(self, shell: Any, folder: str) -> Any:
        """Returns a long sample, whose metadata and texts are members of their own."""
        if not isinstance(shell, Mapping):
            return shell
        texts: list[Any] = []
        parts = re.compile(re.escape(folder) + r"attachments/(\d{1,12})\.json")
        chunks = [(int(m[1]), name) for name in self.sizes if (m := parts.fullmatch(name))]
        for _, name in sorted(chunks):
            chunk = self.json(name)
            texts += chunk if isinstance(chunk, list) else []
        sample = {**shell, "attachments": {str(n): text for n, text in enumerate(texts)}}
        if (name := f"{folder}metadata.json") in self.sizes:
            sample["metadata"] = inner({"": self.json(name)}, "")
        return sample
