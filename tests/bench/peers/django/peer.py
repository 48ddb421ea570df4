"""A profile-picture server of Django, Django REST framework, simplejwt and Pillow, in one module.

Settings from the environment: `PEER_DATA`, the directory of database and files. Run by gunicorn as `peer:application`;
`python peer.py` makes the database."""
import datetime
import io
import os
import secrets
import sys
from pathlib import Path

import django
from django.apps import AppConfig
from django.conf import settings
from django.core.wsgi import get_wsgi_application

DATA = Path(os.environ["PEER_DATA"])
SIZES = (512, 128)
UPLOAD_BYTES_MAX = 5 * 1024 * 1024

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA / "db.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    },
    DATA_UPLOAD_MAX_MEMORY_SIZE=UPLOAD_BYTES_MAX + 65_536,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    # An upload stays in memory: a temporary file would be written for nothing.
    FILE_UPLOAD_MAX_MEMORY_SIZE=UPLOAD_BYTES_MAX + 65_536,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "__main__.Peer" if __name__ == "__main__" else "peer.Peer"],
    MEDIA_ROOT=DATA / "media",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY=(DATA / "secret").read_text(),
    SIMPLE_JWT={"ACCESS_TOKEN_LIFETIME": datetime.timedelta(hours=6)},
    USE_TZ=True,
)


class Peer(AppConfig):
    name = "__main__" if __name__ == "__main__" else "peer"
    label = "peer"
    path = str(Path(__file__).parent)


if __name__ != "__main__":
    django.setup()
else:
    sys.modules.setdefault("peer", sys.modules["__main__"])
    django.setup()

import pillow_heif  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.db import models, transaction  # noqa: E402
from django.urls import path, re_path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.views.static import serve  # noqa: E402
from PIL import Image, ImageCms, ImageOps  # noqa: E402
from rest_framework import permissions, serializers, status  # noqa: E402
from rest_framework.parsers import JSONParser, MultiPartParser  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.tokens import RefreshToken  # noqa: E402

pillow_heif.register_heif_opener()
SRGB = ImageCms.createProfile("sRGB")


class Profile(models.Model):
    user = models.OneToOneField(User, primary_key=True, on_delete=models.CASCADE)
    name = models.CharField(max_length=50)
    picture = models.CharField(max_length=32, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "peer"


class Upload(serializers.Serializer):
    image = serializers.FileField()

    def validate_image(self, image):
        if image.size > UPLOAD_BYTES_MAX:
            raise serializers.ValidationError(f"The file has {image.size} bytes, the limit is {UPLOAD_BYTES_MAX}.")
        return image


def rendered(upload):
    """The JPEG files of an upload, by size."""
    with Image.open(upload) as image:
        if image.format not in ("JPEG", "PNG", "HEIF"):
            raise serializers.ValidationError({"image": ["Unsupported image format."]})
        # Decodes a JPEG at a fraction of its size, never below what is wanted.
        image.draft("RGB", (SIZES[0], SIZES[0]))
        profile = image.info.get("icc_profile")
        image = ImageOps.exif_transpose(image)
        if image.mode in ("RGBA", "LA", "P"):
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
        image = ImageOps.fit(image, (SIZES[0], SIZES[0]), Image.Resampling.LANCZOS)
        if profile:
            image = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), SRGB, outputMode="RGB")
        image = image.convert("RGB")
    files = {}
    for size in SIZES:
        out = io.BytesIO()
        small = image if size == SIZES[0] else image.resize((size, size), Image.Resampling.LANCZOS)
        small.save(out, "JPEG", quality=85)
        files[size] = out.getvalue()
    return files


def folder():
    return settings.MEDIA_ROOT / "profile_pictures"


def write(picture, files):
    """Writes the files of a picture so that a power cut leaves them."""
    for size, data in files.items():
        with open(folder() / f"{picture}-{size}.jpg", "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    directory = os.open(folder(), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove(picture):
    for size in SIZES:
        (folder() / f"{picture}-{size}.jpg").unlink(missing_ok=True)


def shown(request, profile):
    def url(size):
        name = f"profile_pictures/{profile.picture}-{size}.jpg" if profile.picture else f"default/{size}.jpg"
        return request.build_absolute_uri(f"/media/{name}")

    picture = None
    if profile.picture:
        picture = {"id": profile.picture, "width": SIZES[0], "height": SIZES[0], "urls": {str(size): url(size) for size in SIZES}}
    return {
        "user_id": str(profile.user_id),
        "name": profile.name,
        "profile_picture_url": url(SIZES[0]),
        "profile_picture_thumbnail_url": url(SIZES[-1]),
        "has_picture": bool(profile.picture),
        "picture": picture,
        "updated_at": profile.updated_at,
    }


class Register(APIView):
    permission_classes = [permissions.AllowAny]
    authentication_classes = []
    parser_classes = [JSONParser]

    def post(self, request):
        email, password = request.data["email"], request.data["password"]
        with transaction.atomic():
            user = User.objects.create_user(email, email, password)
            Profile.objects.create(user=user, name=email.split("@")[0][:50])
        refresh = RefreshToken.for_user(user)
        tokens = {"access": str(refresh.access_token), "refresh": str(refresh), "user_id": str(user.pk)}
        return Response(tokens, status=status.HTTP_201_CREATED)


class Own(APIView):
    permission_classes = [permissions.IsAuthenticated]

    def get(self, request):
        return Response(shown(request, Profile.objects.get(user=request.user)))


class Picture(APIView):
    permission_classes = [permissions.IsAuthenticated]
    parser_classes = [MultiPartParser]

    def post(self, request):
        upload = Upload(data=request.data)
        upload.is_valid(raise_exception=True)
        try:
            files = rendered(upload.validated_data["image"])
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise serializers.ValidationError({"image": ["Upload a valid image."]}) from error
        picture = secrets.token_hex(16)
        write(picture, files)
        with transaction.atomic():
            profile = Profile.objects.select_for_update().get(user=request.user)
            old, profile.picture, profile.updated_at = profile.picture, picture, timezone.now()
            profile.save(update_fields=["picture", "updated_at"])
        if old:
            remove(old)
        return Response(shown(request, profile))


urlpatterns = [
    path("api/auth/register/", Register.as_view()),
    path("api/users/me/profile/", Own.as_view()),
    path("api/users/me/profile/picture/", Picture.as_view()),
    re_path("^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT}),
]

if __name__ == "__main__":
    from django.core.management import call_command
    from django.db import connection

    folder().mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0, run_syncdb=True)
    with connection.schema_editor() as editor:
        if Profile._meta.db_table not in connection.introspection.table_names():
            editor.create_model(Profile)
else:
    application = get_wsgi_application()
