"""Writes the pictures in this folder and, beside each, the pixels that Pillow decodes from it as NAME.rgb.

Run with Pillow 12 and NumPy: python make_images.py
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 51, 35


def save(name: str, image: Image.Image, **options) -> None:
    data = io.BytesIO()
    image.save(data, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.split(".")[-1]], **options)
    (FOLDER / name).write_bytes(data.getvalue())
    decoded = ImageOps.exif_transpose(Image.open(data)).convert("RGB")
    (FOLDER / f"{name}.rgb").write_bytes(decoded.tobytes())


y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
waves = np.stack([128 + 100 * np.sin(x / 7) + 20 * np.cos(y / 4), (x * 4.3 + y) % 256, 255 - (x + y) * 2.4], -1)
pixels = waves.clip(0, 255).astype(np.uint8)
photo = Image.fromarray(pixels)
see_through = Image.fromarray(np.dstack([pixels, ((x * 7 + y * 5) % 256).astype(np.uint8)]))
negative = Image.fromarray(255 - np.asarray(see_through))
turned = Image.Exif()
turned[0x0112] = 6

save("420.jpg", photo, quality=85, subsampling=2)
save("422_progressive.jpg", photo, quality=85, subsampling=1, progressive=True)
save("444_turned.jpg", photo, quality=85, subsampling=0, exif=turned.tobytes())
save("grey.jpg", photo.convert("L"))
save("cmyk.jpg", photo.convert("CMYK"), quality=95)
save("lossy.webp", photo, quality=80)
save("lossless_turned.webp", photo, lossless=True, exif=turned.tobytes())
save("alpha.webp", see_through, quality=80)
save("animated.webp", see_through, save_all=True, append_images=[negative], duration=100, quality=80)
save("grey16.png", Image.fromarray((x * 9 + y * 11).astype(np.uint16)))
save("palette.png", photo.quantize(40), transparency=3)
