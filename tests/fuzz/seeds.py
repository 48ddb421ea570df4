#!/usr/bin/env python3
"""Writes seeds for the fuzz targets that no file of pictures is one for: tests/fuzz/seeds.py CORPUS_FOLDER [PICTURE…].

A byte in front says in which pieces the rest arrives, or which version a record has (see the targets). From the pictures
come the EXIF blocks that cameras wrote into them.
"""

import base64
import hashlib
import itertools
import json
import pathlib
import struct
import sys


def tiffs():
    """Blocks with an orientation of each type, in both byte orders, among other entries, lying and cut off."""
    for order, mark in (("<", b"II"), (">", b"MM")):
        pack = lambda form, *values: struct.pack(order + form, *values)
        for kind, value in [(3, "HH"), (8, "hH"), (4, "I"), (9, "i"), (1, "B3x"), (6, "b3x"), (2, "4s"), (5, "I")]:
            word = b"6\0\0\0" if kind == 2 else 6
            data = pack(value, word, 0) if value in ("HH", "hH") else pack(value, word)
            orientation = pack("HHI", 0x0112, kind, 1) + data
            make = pack("HHII", 0x010F, 2, 4, 0x41424344)
            for entries in ([orientation], [make, orientation], [orientation, orientation], [make]):
                body = pack("H", len(entries)) + b"".join(entries) + pack("I", 0)
                yield mark + pack("HI", 42, 8) + body
        yield mark + pack("HI", 42, 8) + pack("H", 65_535) + orientation
        yield mark + pack("HI", 42, 0xFFFFFFF0) + orientation
        yield mark + pack("HI", 42, 20) + bytes(12) + pack("H", 1) + orientation[:7]
        yield b"Exif\0\0" * 2 + mark + pack("HI", 42, 8) + pack("H", 1) + orientation
    yield b"II\0*\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0"
    yield b"MM*\0\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x05\0\0"


def exif_of(file):
    """What stands behind each `Exif` of a file, as far as a segment reaches."""
    bytes_ = file.read_bytes()
    at = bytes_.find(b"Exif\0\0")
    while at >= 0:
        yield bytes_[at + 6 : at + 4_096]
        at = bytes_.find(b"Exif\0\0", at + 6)


def forms():
    image = b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n'
    text = b'Content-Disposition: form-data; name="crop"\r\n'
    part = lambda head, content: b"--X\r\n" + head + b"\r\n" + content + b"\r\n"
    end = b"--X--\r\n"
    heads = [
        image,
        b"content-disposition:form-data;name=image;filename*=utf-8''caf%C3%A9.jpg\r\n",
        b'Content-Disposition: form-data; name="image"; filename="a;b\\"c\\\\.jpg"\r\n',
        b'Content-Disposition: form-data; name="image"; filename="caf\xe9"\r\nContent-Transfer-Encoding: binary\r\n',
        b'Content-Disposition: form-data; name="image"; filename=""\r\n',
        b'Content-Disposition: attachment; filename="a"; name="image"\r\nContent-Type: multipart/mixed; boundary=Y\r\n',
        b"",
    ]
    for head in heads:
        yield part(head, b"\xff\xd8\xff\xd9") + end
    good = part(image, b"\r\n--\r\n--Xy\r-")
    yield part(text, b"1,2,3,4") + good + end
    yield good + part(text, b" 0,0,10,10 ") + end + b"epilogue"
    yield b"preamble\r\n" + good + good + end
    yield b"--X \t\r\n" + image + b"\r\n\xff\xd8\r\n--X--"
    yield good
    yield end
    yield b"".join(part(b'Content-Disposition: form-data; name="f%d"\r\n' % number, b"") for number in range(17)) + end
    yield part(image + b"X-A: b\r\n" * 33, b"x") + end
    yield part(b"X-Long: " + b"x" * 5_000 + b"\r\n" + image, b"x") + end
    yield part(image, b"x" * 5_000) + end


def wires():
    post = "POST /api/auth/login/ HTTP/1.1\r\nHost: a\r\n"
    get = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
    texts = [
        get + get,
        "\r\n" + get,
        "GET / HTTP/1.0\r\n\r\n" + get,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" + get,
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        post + "Content-Length: 2\r\n\r\n{}" + get,
        post + "Content-Length: 0\r\n\r\n" + get,
        post + "content-length : 2\r\n\r\n{}",
        post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        post + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        post + "Content-Length: " + " " * 300 + "2\r\n\r\n{}",
        post + "Content-Length: 18446744073709551616\r\n\r\n",
        post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        post + "Transfer-Encoding:\tchunked \r\n\r\n0\r\n\r\n" + get,
        post + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
        chunked + "2\r\n{}\r\n0\r\n\r\n" + get,
        chunked + "2;name=value;a=\"b\"\r\n{}\r\n0;x\r\nX-Trailer: y\r\n\r\n" + get,
        chunked + "002 \r\n{}\r\n00\r\n\r\n" + get,
        chunked + "0" * 300 + "2\r\n{}\r\n0\r\n\r\n",
        chunked + "ffffffffffffffff\r\n",
        chunked + "2\r\n{}X\r\n0\r\n\r\n",
        chunked + "2\n{}\n0\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
        "GET / HTTP/1.1\r\nX-A: " + "x" * 33_000 + "\r\n\r\n",
        "GET / HTTP/1.1\r\n" + "X-A: b\r\n" * 65 + "\r\n",
        "GET / HTTP/9.9\r\nAccept: application/problem+json\r\nOrigin: b\r\n\r\nrest",
    ]
    return [text.encode() for text in texts] + [b"\x16\x03\x01\x00\xa5\x01\x00", get.encode().replace(b"a\r", b"\xff\0\r")]


def digits(text):
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=")


HEADERS = [
    '{"alg":"HS256","typ":"JWT"}',
    '{"alg":"HS256","kid":"../../dev/null","jku":"http://127.0.0.1/"}',
    '{"alg":"HS256","crit":["b64"],"b64":false}',
    '{"alg":"HS256","alg":"none"}',
    '{"alg":"HS256","x":' + "[" * 200 + "]" * 200 + "}",
    '{"alg":"none"}',
    '{"alg":["HS256"],"typ":1,"kid":null,"zip":"DEF"}',
]
CLAIMS = [
    '{"token_type":"access","exp":1,"iat":0,"jti":"x","user_id":"1"}',
    '{"token_type":"refresh","exp":4102444800,"nbf":-1,"user_id":42}',
    '{"token_type":"access","exp":1e30,"user_id":"a\\u0000"}',
    '{"token_type":"access","exp":1.5,"iat":null,"aud":["a"],"iss":"b","user_id":"\\ud83d\\ude00"}',
    '{"token_type":null,"exp":-9223372036854775808,"user_id":{}}',
    "[]",
]


def tokens():
    for header, claims in itertools.product(HEADERS, CLAIMS[:2]):
        yield b"Bearer " + digits(header) + b"." + digits(claims) + b"." + digits("x" * 32)
    token = digits(HEADERS[0]) + b"." + digits(CLAIMS[0]) + b"."
    yield from [b"", b"Bearer", b"bearer x", b"Bearer a b", b"Bearer  " + token, b"Bearer\t" + token + b"=", b"Bearer ..."]
    yield b"Bearer " + token + b"A" * 42 + b"B"
    yield b"Bearer " + b"A" * 9_000


def signed():
    for header, claims in itertools.product(HEADERS, CLAIMS):
        yield header.encode() + b"\n" + claims.encode()


def paths():
    user, picture = "00000000-0000-4000-8000-000000000000", "0123456789abcdef0123456789abcdef"
    known = [
        "/api/users/me/profile/picture/", "/api/users/me/profile", f"/api/users/{user}/profile/", "/api/auth/register/",
        "/api/auth/login/", "/api/auth/token/refresh", f"/media/profile_pictures/{picture}/512.jpg",
        f"/media/profile_pictures/{picture}/128.jpg/", "/media/default/512.jpg", "/api/schema/", "/healthz", "/readyz/",
    ]
    odd = [
        "", "/", "//", "*", "/api//users/me/profile/", "/api/users/%00/profile/", "/api/users/a%2Fb/profile/",
        "/api/users/%F0%9F%98%80/profile/", "/api/users/%zz/profile/", "/api/users/../me/profile/",
        f"/media/profile_pictures/{picture.upper()}/512.jpg", f"/media/profile_pictures/{picture}/0512.jpg",
        f"/media/profile_pictures/{picture}/65536.jpg", f"/media/profile_pictures/{picture}/-1.jpg",
    ]
    return [path.encode() for path in known + odd]


def records():
    blob = {"size_px": 512, "length": 9, "checksum": "0" * 31 + "a"}
    shown = {
        "id": "0123456789abcdef0123456789abcdef", "width": 512, "height": 512, "sizes_px": [512, 128],
        "thumbhash": [1, 2, 3], "applied": ["rotated", "metadata_removed"], "uploaded_at": 1,
    }
    values = [
        (1, {"email": "a@example.org", "password_hash": "$argon2id$x", "created_at": -1}),
        (2, {"email": None, "password_hash": None, "created_at": 9223372036854775807}),
        (1, {"user_id": "42"}),
        (1, {"owner": "42", "uploaded_at": 1, "blobs": [blob]}),
        (2, {"owner": "42", "uploaded_at": 1, "blobs": [blob, blob], "original": blob, "recipe": 7,
             "crop": {"x": 0, "y": 0, "width": 1, "height": 1}}),
        (1, {"name": "Ada", "picture": None, "created_at": 0, "updated_at": 0}),
        (1, {"name": "Z\u00f6e", "picture": shown, "created_at": 0, "updated_at": 0}),
        (1, {"version": 3}),
        (1, {"users": 2, "pictures": 1}),
        (1, {"commits": 9}),
        (0, {}),
        (255, [1, 2, 3]),
    ]
    return [bytes([version]) + json.dumps(value).encode() for version, value in values]


def main():
    corpus = pathlib.Path(sys.argv[1])
    pictures = [pathlib.Path(name) for name in sys.argv[2:]]
    pieces = lambda bodies: [bytes([piece]) + body for body in bodies for piece in (1, 7, 255)]
    seeds = {
        "exif": [*tiffs(), *(block for file in pictures if file.is_file() for block in exif_of(file))],
        "form": pieces(forms()),
        "framing": pieces(wires()),
        "token": list(tokens()),
        "claims": list(signed()),
        "route": paths(),
        "record": records(),
    }
    for target, inputs in seeds.items():
        folder = corpus / target
        folder.mkdir(parents=True, exist_ok=True)
        for one in inputs:
            (folder / hashlib.sha256(one).hexdigest()[:16]).write_bytes(one)


main()
