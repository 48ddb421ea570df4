"""Keys, a configuration that trusts them, and tokens of djangorestframework-simplejwt and PyJWT, good and bad.

Usage: make.py FOLDER. Each token is written with what must become of it: the user's id, or status and body.
"""

import base64
import datetime
import json
import pathlib
import sys
import time

import django
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.conf import settings

FOLDER = pathlib.Path(sys.argv[1])
SECRET = "hG7-kQ2pXv9sB4tNzR6wLd8yJf1mAe0cUi5oTb3xKq7rPn9vEj2gMh4dSz8fWy6a"
ISSUER = "https://sso.example.org"
AUDIENCE = "pockitd"

settings.configure(
    SECRET_KEY=SECRET,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "rest_framework_simplejwt"],
    SIMPLE_JWT={"ALGORITHM": "HS256", "SIGNING_KEY": SECRET},
    DATABASES={},
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from rest_framework_simplejwt.backends import TokenBackend  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, SlidingToken, UntypedToken  # noqa: E402


def not_valid(message):
    return [401, json.dumps({
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [{"token_class": "AccessToken", "token_type": "access", "message": message}],
    }, separators=(",", ":"))]


INVALID = not_valid("Token is invalid")
EXPIRED = not_valid("Token is expired")
NO_EXPIRY = not_valid("Token has no 'exp' claim")
WRONG_TYPE = not_valid("Token has wrong type")
NO_TYPE = not_valid("Token has no type")
NO_USER = [401, '{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}']
NO_SCOPE = [403, '{"detail":"You do not have permission to perform this action."}']

CASES = []


def case(what, token, expected):
    CASES.append({"what": what, "token": token, "expected": expected})


def pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def private(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


KEYS = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
DJANGO = rsa.generate_private_key(65537, 2048)
FITTING = {"RS256": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]}


def configure():
    (FOLDER / "django.pem").write_bytes(pem(DJANGO))
    lines = [
        "[http]", 'listen = "127.0.0.1:0"',
        "[auth]", f'secret = "{SECRET[::-1]}"',
        # A Django that shares its secret, both ways of writing ids.
        "[[auth.issuers]]", 'name = "django"', 'id_prefix = ""', 'user_claim = "user_id"', 'token_type = "access"',
        "[[auth.issuers.keys]]", 'algorithms = ["HS256", "HS512"]', 'secret_file = "secret"',
        "[[auth.issuers.keys]]", 'algorithms = ["RS256"]', 'public_key_file = "django.pem"',
        # Someone who publishes keys.
        "[[auth.issuers]]", 'name = "sso"', f'issuer = "{ISSUER}"', f'audiences = ["{AUDIENCE}"]',
        'required_scopes = ["avatar:write"]',
    ]
    for name, key in KEYS.items():
        fitting = json.dumps(FITTING.get(name, [name]))
        lines += ["[[auth.issuers.keys]]", f'kid = "{name}"', f"algorithms = {fitting}", f'public_key_file = "{name}.pem"']
        (FOLDER / f"{name}.pem").write_bytes(pem(key))
        (FOLDER / f"{name}.private.pem").write_bytes(private(key))
    lines += ["[storage]", 'data_dir = "data"', "[workers]", "count = 1", ""]
    (FOLDER / "secret").write_text(SECRET)
    (FOLDER / "pockit.toml").write_text("\n".join(lines))


def simplejwt():
    case("simplejwt: user_id as the library writes it", str(AccessToken.for_user(User(id=42))), {"user_id": "42"})
    whole = AccessToken.for_user(User(id=43))
    whole["user_id"] = 43
    case("simplejwt: user_id as an integer", str(whole), {"user_id": "43"})
    text = AccessToken.for_user(User(id=44))
    text["user_id"] = "44"
    case("simplejwt: user_id as a string", str(text), {"user_id": "44"})
    case("simplejwt: the access token of a refresh token",
         str(RefreshToken.for_user(User(id=42)).access_token), {"user_id": "42"})
    for algorithm, key in [("HS512", SECRET), ("RS256", private(DJANGO))]:
        backend = TokenBackend(algorithm, signing_key=key, verifying_key=pem(DJANGO))
        case(f"simplejwt: {algorithm}", backend.encode(dict(AccessToken.for_user(User(id=45)).payload)), {"user_id": "45"})

    case("simplejwt: a refresh token", str(RefreshToken.for_user(User(id=42))), WRONG_TYPE)
    case("simplejwt: a sliding token", str(SlidingToken.for_user(User(id=42))), WRONG_TYPE)
    bare = AccessToken.for_user(User(id=42))
    del bare.payload["token_type"]
    case("simplejwt: without a type", str(bare), NO_TYPE)
    old = AccessToken.for_user(User(id=42))
    old.set_exp(lifetime=-datetime.timedelta(seconds=1))
    case("simplejwt: expired", str(old), EXPIRED)
    nobody = AccessToken.for_user(User(id=42))
    del nobody.payload["user_id"]
    case("simplejwt: without a user", str(nobody), NO_USER)
    meant = AccessToken.for_user(User(id=42))
    meant["aud"] = "elsewhere"
    case("simplejwt: for another audience", str(meant), INVALID)
    for algorithm in ["HS384", "HS256"]:
        key = SECRET if algorithm == "HS384" else SECRET.lower()
        backend = TokenBackend(algorithm, signing_key=key)
        case(f"simplejwt: {algorithm} that is not configured, or another secret",
             backend.encode(dict(AccessToken.for_user(User(id=42)).payload)), INVALID)
    good = str(AccessToken.for_user(User(id=42)))
    head, body, signature = good.split(".")
    changed = dict(AccessToken.for_user(User(id=1)).payload)
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    case("simplejwt: other claims under its signature", f"{head}.{forged}.{signature}", INVALID)
    case("simplejwt: the signature cut short", good[:-4], INVALID)
    case("simplejwt: the signature left out", f"{head}.{body}.", INVALID)
    assert UntypedToken is not None


def claims(**changes):
    now = int(time.time())
    all_claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "auth0|7", "scope": "openid avatar:write",
                  "name": "Ada", "iat": now, "exp": now + 600}
    all_claims.update(changes)
    return {name: value for name, value in all_claims.items() if value is not None}


def pyjwt():
    now = int(time.time())
    user = {"user_id": "sso:auth0|7"}
    for kid, key in KEYS.items():
        for algorithm in FITTING.get(kid, [kid]):
            def token(payload, header=None, algorithm=algorithm, key=key, kid=kid):
                return jwt.encode(payload, key, algorithm=algorithm, headers=header or {"kid": kid})

            good = token(claims())
            case(f"PyJWT: {algorithm}", good, user)
            case(f"PyJWT: {algorithm} without kid", jwt.encode(claims(), key, algorithm=algorithm), user)
            case(f"PyJWT: {algorithm}, audiences", token(claims(aud=["x", AUDIENCE])), user)
            case(f"PyJWT: {algorithm}, integer subject", token({**claims(), "sub": "8"}), {"user_id": "sso:8"})
            for what, payload, expected in [
                ("expired", claims(exp=now - 1), EXPIRED),
                ("never expires", claims(exp=None), NO_EXPIRY),
                ("not yet", claims(nbf=now + 600), INVALID),
                ("wrong audience", claims(aud="elsewhere"), INVALID),
                ("no audience", claims(aud=None), INVALID),
                ("wrong issuer", claims(iss=ISSUER + "/"), INVALID),
                ("no issuer", claims(iss=None), INVALID),
                ("wrong type", claims(token_type="refresh"), WRONG_TYPE),
                ("no subject", claims(sub=None), NO_USER),
                ("no scope", claims(scope="openid"), NO_SCOPE),
            ]:
                case(f"PyJWT: {algorithm}, {what}", token(payload), expected)
            case(f"PyJWT: {algorithm}, unknown kid", token(claims(), {"kid": "none"}), INVALID)
            case(f"PyJWT: {algorithm}, crit", token(claims(), {"kid": kid, "crit": ["x"], "x": 1}), INVALID)
            head, body, signature = good.split(".")
            flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
            case(f"PyJWT: {algorithm}, flipped", f"{head}.{body}.{flipped}", INVALID)
        # The public key, taken for a secret.
        public = pem(key)
        for secret in [public, public.strip(), public.replace(b"\n", b"\r\n")]:
            message = ".".join(
                base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
                for part in [{"alg": "HS256", "typ": "JWT", "kid": kid}, claims()])
            mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(message.encode(), secret)
            case(f"PyJWT: the public key of {kid} as a secret",
                 f"{message}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}", INVALID)
        for other in KEYS:
            if other != kid:
                algorithm = kid
                case(f"PyJWT: {kid} under the id of {other}",
                     jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": other}), INVALID)
    case("PyJWT: none", jwt.encode(claims(), None, algorithm="none"), INVALID)
    stranger = rsa.generate_private_key(65537, 2048)
    case("PyJWT: a stranger's key", jwt.encode(claims(), stranger, algorithm="RS256", headers={"kid": "RS256"}), INVALID)
    # The keys of one issuer do not speak for another's users.
    case("PyJWT: a user of the other issuer",
         jwt.encode({"sub": "x", "user_id": "sso:auth0|7", "token_type": "access", "exp": now + 600}, SECRET), NO_USER)


configure()
simplejwt()
pyjwt()
(FOLDER / "tokens-python.json").write_text(json.dumps(CASES))
