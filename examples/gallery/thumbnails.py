"""Thumbnails: what ``thumbnails.yaml`` names. Needs Pillow."""

import html
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

_KINDS = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp"}


def pictures(folder: str) -> list[str]:
    """List the pictures of a directory and those below it, by name."""
    found = (path for path in Path(folder).expanduser().rglob("*") if path.suffix.lower() in _KINDS)
    return sorted(map(str, found))


def shrink(item: str, out: str, size: int) -> dict[str, Any]:
    """Write a small copy of one picture."""
    with Image.open(item) as picture:
        width, height = picture.size
        picture.thumbnail((size, size))
        target = Path(out).expanduser() / f"{Path(item).stem}-{zlib.crc32(item.encode()):08x}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.convert("RGB").save(target)
        return {"from": item, "to": str(target), "was": [width, height], "is": list(picture.size)}


def index(shrink: list[dict[str, Any] | None], out: str) -> dict[str, Any]:
    """Write a page that shows them."""
    made = [one for one in shrink if one is not None]
    rows = [
        f'<img src="{html.escape(Path(one["to"]).name)}" title="{html.escape(one["from"])}">'
        for one in made
    ]
    page = Path(out).expanduser() / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    head = "<!doctype html><meta charset=utf-8><title>Pictures</title>"
    page.write_text("\n".join([head, *rows]))
    return {"pictures": len(made), "damaged": len(shrink) - len(made), "page": str(page)}
