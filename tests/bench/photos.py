"""The photos that are measured: real ones where the folder `../shared/photos` is beside the repository, else made ones
with the statistics of photos, and of each format one with 48 megapixels."""
import dataclasses
import pathlib
import sys

import numpy as np
from PIL import Image, ImageCms

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "fixtures"))

# Standard deviation of the grain that is added to what was enlarged, in levels of 255.
GRAIN = 3

# Names of the real photos, and how their JPEGs are coded.
REAL = {
    "phone-12mp-444-p3-gps.jpg": "jpeg-444",
    "phone-12mp-portrait-420.jpg": "jpeg-420",
    "landscape-6mp-420.jpg": "jpeg-420-6mp",
    "phone-12mp-progressive.jpg": "jpeg-progressive",
    "iphone13pro-12mp-p3-gps.heic": "heic",
    "iphone8plus-12mp-rotated.heic": "heic",
    "xiaomi-5mp.heic": "heic",
    "visionpro-2560.heic": "heic",
    "photo-1600.png": "png",
}
TILE = 512


@dataclasses.dataclass
class Photo:
    file: pathlib.Path
    kind: str
    huge: bool = False


def all(folder):
    """Every photo, after making those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    real = REPOSITORY.parent / "shared" / "photos"
    if real.is_dir():
        found = [Photo(real / name, kind) for name, kind in REAL.items()]
        source = Image.open(real / "phone-12mp-444-p3-gps.jpg")
    else:
        print(f"skipped: real photos: {real} is not there; made ones are measured", file=sys.stderr)
        source = made_photo(4032, 3024)
        found = [
            jpeg(folder / "made-12mp-444.jpg", "jpeg-444", source, quality=93, subsampling=0),
            jpeg(folder / "made-12mp-420.jpg", "jpeg-420", source, quality=88, subsampling=2),
            jpeg(folder / "made-12mp-progressive.jpg", "jpeg-progressive", source, quality=93, subsampling=0, progressive=True),
            heic(folder / "made-12mp.heic", source),
            png(folder / "made-1600.png", source.resize((1600, 1200), Image.Resampling.LANCZOS)),
        ]
    # Several sizes of file come from one decode only when one of them is missing.
    huge, smooth = Huge(source, GRAIN), Huge(source, 0)
    found += [
        jpeg(folder / "48mp-444.jpg", "jpeg-444", huge, quality=93, subsampling=0),
        jpeg(folder / "48mp-420.jpg", "jpeg-420", huge, quality=88, subsampling=2),
        jpeg(folder / "48mp-progressive.jpg", "jpeg-progressive", huge, quality=93, subsampling=0, progressive=True),
        heic(folder / "48mp.heic", smooth),
    ]
    for photo in found:
        photo.huge = photo.file.name.startswith("48mp")
    return found


class Huge:
    """A picture of twice the width and height, enlarged when it is first asked for. Grain keeps a JPEG from being smoother
    than a photo of that size; phones remove it before they encode HEVC."""

    def __init__(self, source, grain):
        self.source, self.grain, self.image = source, grain, None

    def pixels(self):
        if self.image is None:
            large = self.source.convert("RGB").resize([2 * side for side in self.source.size], Image.Resampling.BICUBIC)
            grain = np.random.default_rng(2).normal(0, self.grain, (large.height, large.width, 1)).astype(np.float32)
            pixels = np.asarray(large, np.float32) + grain
            self.image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
            self.image.info = {"icc_profile": self.source.info.get("icc_profile")}
        return self.image


def made_photo(width, height):
    """Noise with the spectrum of photos (amplitude falls with frequency), and edges. The profile is that of a made-up
    display: colours must be converted, as those of most phones."""
    import make
    rng = np.random.default_rng(1)
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    falloff = np.maximum(np.hypot(x, y), 1 / width) ** -1.4
    channels = []
    shared = rng.normal(size=falloff.shape) + 1j * rng.normal(size=falloff.shape)
    for _ in range(3):
        own = rng.normal(size=falloff.shape) + 1j * rng.normal(size=falloff.shape)
        wave = np.fft.irfft2((shared + 0.3 * own) * falloff, (height, width))
        channels.append(118 + 52 * wave / wave.std())
    pixels = np.stack(channels, axis=-1)
    rows, columns = np.mgrid[0:height, 0:width]
    for _ in range(40):
        centre_x, centre_y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(20, width / 6)
        inside = (columns - centre_x) ** 2 + (rows - centre_y) ** 2 < radius ** 2
        pixels[inside] += rng.uniform(-60, 60, 3)
    image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    image.info["icc_profile"] = make.rgb_profile("Bench display", (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
    return image


def opened(source):
    return source.pixels() if isinstance(source, Huge) else source


def jpeg(file, kind, source, **options):
    if not file.exists():
        image = opened(source)
        image.convert("RGB").save(file, "JPEG", icc_profile=image.info.get("icc_profile"), **options)
    return Photo(file, kind)


def png(file, image):
    if not file.exists():
        image.save(file)
    return Photo(file, "png")


def heic(file, source):
    """As a phone stores it: tiles of 512, joined by a grid."""
    if not file.exists():
        import make
        image = opened(source)
        heif = make.Heif()
        properties = [make.colr(image.info["icc_profile"])] if image.info.get("icc_profile") else []
        item = make.grid(heif, np.asarray(image.convert("RGB")), TILE, properties)
        file.write_bytes(heif.file(item))
    return Photo(file, "heic")
