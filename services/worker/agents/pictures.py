"""Images as a model takes them: decoded once to know that they are whole, and no larger than it looks at."""

import asyncio
import base64
import io
from pathlib import Path

import msgspec
from PIL import Image, ImageOps

from .protocol import Prompt

# Anthropic's vision guide: these formats; anything over 1,568 pixels is scaled down there, and only costs time and tokens.
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
LONGEST_SIDE = 1_568
# The guide allows 5 MB; a picture is kept in the conversation, and sent with every request of it.
MOST_BYTES = 2 * 2**20
# Decoded, a pixel takes four bytes.
MOST_PIXELS = 50_000_000
Image.MAX_IMAGE_PIXELS = None  # ours is asked before anything is decoded


class Picture(msgspec.Struct, frozen=True):
    """An image for a model; `data` is base64."""

    media_type: str
    data: str


async def pictures(prompt: Prompt) -> tuple[Picture, ...]:
    """Return those attachments of `prompt` that a model can look at."""
    paths = [each.path for each in prompt.attachments if each.media_type.startswith("image/")]
    found = await asyncio.to_thread(lambda: list(map(picture, paths))) if paths else []
    return tuple(each for each in found if each is not None)


def picture(path: Path) -> Picture | None:
    """Return the image at `path` as a model takes it, None for what it cannot look at.

    An API that was sent a broken one refuses the conversation from then on, so nothing counts but what was decoded.
    """
    try:
        with Image.open(path, formats=list(FORMATS)) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            image.load()
            if max(image.size) <= LONGEST_SIDE and path.stat().st_size <= MOST_BYTES:
                return _picture(FORMATS[str(image.format)], path.read_bytes())
            return _smaller(image)
    except Exception:  # broken files make decoders raise whatever they like
        return None


def _smaller(image: Image.Image) -> Picture:
    upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    out = io.BytesIO()
    upright.save(out, "JPEG", quality=85)
    return _picture(FORMATS["JPEG"], out.getvalue())


def _picture(media_type: str, data: bytes) -> Picture:
    return Picture(media_type, base64.b64encode(data).decode())
