"""The jobs of render.rs by Pillow (`pillow`) and libvips (`vips`), as their documentations show them: one argument names
which. Pillow reads JPEG in draft mode and HEIC through pillow-heif; profiles are converted by LittleCMS, on the small
picture, where that costs least."""
import io
import sys


def pillow():
    import pillow_heif
    from PIL import Image, ImageCms, ImageOps
    pillow_heif.register_heif_opener()
    srgb = ImageCms.createProfile("sRGB")

    def picture(upload):
        image = Image.open(io.BytesIO(upload))
        image.draft("RGB", (512, 512))
        profile = image.info.get("icc_profile")
        image = ImageOps.exif_transpose(image)
        image = ImageOps.fit(image, (512, 512), Image.Resampling.LANCZOS)
        if profile:
            image = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb)
        return image.convert("RGB")

    def render(upload):
        large = picture(upload)
        small = large.resize((128, 128), Image.Resampling.LANCZOS)
        return [encoded(large), encoded(small)]

    def encoded(image):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=85)
        return len(out.getvalue())

    def pixels(upload):
        image = picture(upload)
        return image.size, image.tobytes()
    return render, pixels


def vips():
    import pyvips
    pyvips.cache_set_max(0)

    def picture(upload, size):
        return pyvips.Image.thumbnail_buffer(upload, size, height=size, crop="centre", export_profile="srgb")

    def render(upload):
        return [len(picture(upload, size).jpegsave_buffer(Q=85, optimize_coding=True, keep="none")) for size in (512, 128)]

    def pixels(upload):
        image = picture(upload, 512)
        return (image.width, image.height), image.write_to_memory()
    return render, pixels


def main():
    render, pixels = {"pillow": pillow, "vips": vips}[sys.argv[1]]()
    upload = b""
    for line in sys.stdin:
        job, _, file = line.rstrip("\n").partition(" ")
        if job == "load":
            with open(file, "rb") as opened:
                upload = opened.read()
            answer = [len(upload)]
        elif job == "render":
            answer = render(upload)
        elif job == "pixels":
            answer, data = pixels(upload)
            with open(file, "wb") as opened:
                opened.write(data)
        else:
            sys.exit(f"no such job: {line}")
        print(*answer, flush=True)


main()
