# SPDX-License-Identifier: Apache-2.0
"""An issuer of JWTs, as tests need one: good tokens, and one of each kind that must be refused."""

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from nerv.service.auth import AuthSettings

ISSUER, AUDIENCE = "https://issuer.example", "nerv"


PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@cache
def key(kid: str = "k1") -> PrivateKey:
    """The private key of an id: for RS256 if it begins with r, else for ES256."""
    if kid.startswith("r"):
        return rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def jwks(*kids: str) -> bytes:
    """The public set of these keys."""
    return json.dumps({"keys": [{**_public(key(kid)), "kid": kid, "use": "sig"} for kid in kids]}).encode()


def _public(private: PrivateKey) -> dict[str, Any]:
    if isinstance(private, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(private.public_key(), as_dict=True) | {"alg": "RS256"}
    return ECAlgorithm.to_jwk(private.public_key(), as_dict=True) | {"alg": "ES256"}


def settings(folder: Path, *kids: str, **more: Any) -> AuthSettings:
    """Settings that name a file with these keys."""
    path = folder / "jwks.json"
    path.write_bytes(jwks(*(kids or ("k1",))))
    return AuthSettings(jwks_file=path, issuer=ISSUER, audience=AUDIENCE, **more)


def token(scope: str, kid: str = "k1", *, secret: Any = None, algorithm: str | None = None, **changes: Any) -> str:
    """A token with good claims, changed; None leaves one out. The algorithm is that of the key, unless another is given."""
    algorithm = algorithm or ("RS256" if kid.startswith("r") else "ES256")
    now = int(time.time())
    good = {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": now + 60, "scope": scope, "tenant": "acme"}
    claims = {name: value for name, value in (good | changes).items() if value is not None}
    return jwt.encode(claims, key(kid) if secret is None else secret, algorithm=algorithm, headers={"kid": kid})


def public_pem(kid: str = "k1") -> bytes:
    """The public key as an attacker who knows it would use it: as a shared secret."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key(kid).public_key().public_bytes(serialization.Encoding.PEM, form)


def forged_with_the_public_key(scope: str, kid: str = "k1") -> str:
    """Signed by HS256 with the public key as the secret (CVE-2015-9235); PyJWT itself refuses to make one."""
    import base64
    import hashlib
    import hmac

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head, claims, _ = token(scope, kid).encode().split(b".")
    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode())
    signed = head + b"." + claims
    return (signed + b"." + part(hmac.new(public_pem(kid), signed, hashlib.sha256).digest())).decode()
