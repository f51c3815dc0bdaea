"""Files that somebody publishes in a repository: their addresses at a commit, and mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from flames.storage.download import is_address

_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".xlsx", ".parquet", ".zip", ".gz")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A publisher's files.

    Args:
        repository: `owner/name` on GitHub.
        commit: The pinned commit; empty where none is known, so that nothing is downloaded unasked.
        files: The paths in the repository.
    """

    name: str
    repository: str
    commit: str
    files: tuple[str, ...]

    def address(self, path: str) -> str:
        """Returns where a file is published."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit or 'HEAD'}/{path}"

    @property
    def by_hand(self) -> str:
        """What to do where the files cannot be downloaded; it ends a message."""
        first = self.address(self.files[0])
        what = first if len(self.files) == 1 else f"the {len(self.files)} files such as {first}"
        return f"; download {what} by hand and add --from PATH"

    def places(self, source: str | None) -> dict[str, str]:
        """Returns where each file is read from: its own address, a mirror's, or one local file.

        A mirror is the address of one file, or of what stands before the paths of all of them.
        """
        if source is None:
            return {path: self.address(path) for path in self.files}
        if is_address(source) and not source.endswith(_ENDINGS):
            return {path: f"{source.rstrip('/')}/{path}" for path in self.files}
        named = [path for path in self.files if PurePosixPath(path).name == _last(source)]
        alone = len(self.files) == 1
        return {self.files[0] if alone else named[0] if len(named) == 1 else source: source}


def _last(source: str) -> str:
    return source.replace("\\", "/").rsplit("/", 1)[-1]
