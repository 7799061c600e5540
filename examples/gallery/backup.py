"""Backups: what ``backup.yaml`` names."""

import re
import tarfile
from pathlib import Path
from typing import Any


def pack(folder: str, out: str, at: str) -> dict[str, Any]:
    """Pack a directory; the copy has its name when it is whole."""
    source = Path(folder).resolve()
    if not source.is_dir():
        raise NotADirectoryError(folder)
    target = Path(out) / f"{source.name}-{re.sub(r'[^0-9A-Za-z]', '', at)}.tar.gz"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    with tarfile.open(part, "w:gz") as archive:
        for path in files:
            archive.add(path, arcname=str(path.relative_to(source.parent)))
    part.rename(target)
    return {"archive": str(target), "files": len(files)}


def discard(output: dict[str, Any]) -> None:
    """Remove a copy that turned out to be bad."""
    Path(output["archive"]).unlink(missing_ok=True)


def check(pack: dict[str, Any]) -> dict[str, Any]:
    """Read a copy from beginning to end."""
    with tarfile.open(pack["archive"]) as archive:
        count = sum(1 for member in archive if member.isfile())
    if count != pack["files"]:
        msg = f"{pack['archive']} has {count} files instead of {pack['files']}"
        raise RuntimeError(msg)
    return {**pack, "bytes": Path(pack["archive"]).stat().st_size}


def prune(check: dict[str, Any], out: str, folder: str, keep: int) -> dict[str, Any]:
    """Remove all but the latest copies."""
    name = re.compile(re.escape(Path(folder).resolve().name) + r"-[0-9A-Za-z]+\.tar\.gz")
    found = [one for one in Path(out).iterdir() if name.fullmatch(one.name)]
    copies = sorted(found, key=lambda one: one.stat().st_mtime)
    gone = copies[:-keep]
    for copy in gone:
        copy.unlink()
    return {**check, "removed": len(gone)}
