"""Run directories: manifest, prompts as asked, journal of responses, verdicts, reports."""

from flames.run._create import create_run
from flames.run._journal import Journal, RequestLog, read_journal
from flames.run._manifest import Manifest, Session, differences, without_secrets
from flames.run._rundir import RunDir, file_sha256, is_run, open_run, safe_name

__all__ = [
    "Journal",
    "Manifest",
    "RequestLog",
    "RunDir",
    "Session",
    "create_run",
    "differences",
    "file_sha256",
    "is_run",
    "open_run",
    "read_journal",
    "safe_name",
    "without_secrets",
]
