"""The cookie of a browser that was let in, and the token that shows that a form is ours."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.responses import Response

from expound.ports import Session

COOKIE_SECONDS = 30 * 24 * 3600
TOKEN_BYTES = 16


def set_cookie(response: Response, name: str, value: str) -> None:
    """Give the browser its session."""
    response.set_cookie(name, value, max_age=COOKIE_SECONDS, path="/", httponly=True, samesite="lax")


def drop_cookie(response: Response, name: str) -> None:
    """Take the session from the browser."""
    response.delete_cookie(name, path="/", httponly=True, samesite="lax")


def form_token(session: Session) -> str:
    """Return a token for a form: the session's own, masked anew, so that compressed pages do not betray it."""
    mask = secrets.token_bytes(TOKEN_BYTES)
    return (mask + _xor(mask, _own(session))).hex()


def token_fits(session: Session, token: str) -> bool:
    """Return whether the token of a form was made for this session."""
    if len(token) != 4 * TOKEN_BYTES or not set(token) <= set("0123456789abcdef"):
        return False
    raw = bytes.fromhex(token)
    return hmac.compare_digest(_xor(raw[:TOKEN_BYTES], raw[TOKEN_BYTES:]), _own(session))


def _own(session: Session) -> bytes:
    return hmac.new(session.secret.encode(), b"form", hashlib.sha256).digest()[:TOKEN_BYTES]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(left, right, strict=True))
