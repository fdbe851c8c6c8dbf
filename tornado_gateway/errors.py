"""What can go wrong, in the shape that OpenAI's clients expect.

Every failure that a caller may see is one of these classes; its status, type, code and advice about retrying
are class attributes, so that the table in `docs/errors.md` is printed from here. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict

from tornado_gateway.headers import check_header

_LONGEST_RETRY_SECONDS = 1e9

__all__ = [
    "AuthUnavailable",
    "AuthenticationFailed",
    "ConcurrencyLimit",
    "ContextLengthExceeded",
    "ErrorBody",
    "GatewayError",
    "HeadersTooLarge",
    "HostNotAllowed",
    "InternalError",
    "InvalidJSON",
    "InvalidRequest",
    "KeyInQuery",
    "MethodNotAllowed",
    "ModelNotFound",
    "NotCached",
    "NotFound",
    "OriginNotAllowed",
    "Overloaded",
    "RateLimitExceeded",
    "RequestTooLarge",
    "ShuttingDown",
    "UnsupportedMediaType",
    "UnsupportedValue",
    "UpstreamClosed",
    "UpstreamError",
    "UpstreamInvalidResponse",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "error_classes",
]


class ErrorBody(TypedDict):
    """The value of `error` in a body or a stream event: always these four keys."""

    message: str
    type: str
    param: str | None
    code: str | None


class GatewayError(Exception):
    """A failure with an answer for the caller.

    `message` is a whole sentence for the caller: never a secret, a prompt, a path or an address.
    `param` names the request's field at fault. `retry_after` is in seconds. `headers` go out with the answer.
    Raises TypeError or ValueError for what cannot be sent, so that it is found where it is made; of a text, only what cannot be UTF-8 is
    replaced.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: ClassVar[str] = "internal_error"
    retry: ClassVar[bool] = False
    """Whether the same request may be sent again: the SDKs obey it (`X-Should-Retry`)."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = _text(message)
        super().__init__(self.message)
        self.param = None if param is None else _text(param)
        self.retry_after = None if retry_after is None else _seconds(retry_after)
        self.headers: Mapping[str, str] = dict(headers or {})
        for name, value in self.headers.items():
            check_header(name, value)

    def body(self) -> ErrorBody:
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


class InvalidRequest(GatewayError):
    """A field is missing, of the wrong type or out of range."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class InvalidJSON(InvalidRequest):
    """The body is not JSON, or not a JSON object in UTF-8."""

    code = "invalid_json"


class UnsupportedValue(InvalidRequest):
    """A field asks for what this model or gateway cannot do."""

    code = "unsupported_value"


class ContextLengthExceeded(InvalidRequest):
    """The prompt is longer than the model's context window."""

    code = "context_length_exceeded"


class KeyInQuery(InvalidRequest):
    """A key came in the URL, where proxies and browsers write it down."""

    code = "key_in_query"


class AuthenticationFailed(GatewayError):
    """The key is missing or wrong; the two are not told apart."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class HostNotAllowed(GatewayError):
    """The `Host` header names a machine that this gateway is not (DNS rebinding)."""

    status = 403
    type = "permission_error"
    code = "host_not_allowed"


class OriginNotAllowed(GatewayError):
    """A web page that the operator did not name asks."""

    status = 403
    type = "permission_error"
    code = "origin_not_allowed"


class NotFound(GatewayError):
    """No such address."""

    status = 404
    type = "not_found_error"
    code = "not_found"


class ModelNotFound(NotFound):
    """No such model, or not for this key, or one that would leave the machine."""

    code = "model_not_found"


class MethodNotAllowed(GatewayError):
    """The address exists, but not for this method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class RequestTooLarge(GatewayError):
    """The body is over `server.max_body_bytes`."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMediaType(GatewayError):
    """The body is compressed, or of a type that a web page may send without asking."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class HeadersTooLarge(GatewayError):
    """The request's head is over the limit."""

    status = 431
    type = "invalid_request_error"
    code = "headers_too_large"


class RateLimitExceeded(GatewayError):
    """The caller has used up an allowance."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retry = True


class ConcurrencyLimit(RateLimitExceeded):
    """Too many of the caller's requests run at once."""

    code = "concurrency_limit"


class InternalError(GatewayError):
    """A fault of the gateway or of a plugin."""


class UpstreamError(GatewayError):
    """Ollama says that it failed."""

    status = 502
    code = "upstream_error"


class UpstreamClosed(GatewayError):
    """Ollama closed the connection before its answer was whole."""

    status = 502
    code = "upstream_closed"


class UpstreamInvalidResponse(GatewayError):
    """What came from Ollama is not what Ollama sends."""

    status = 502
    code = "upstream_invalid_response"


class UpstreamUnavailable(GatewayError):
    """No connection to Ollama could be made; nothing was sent."""

    status = 503
    type = "overloaded_error"
    code = "upstream_unavailable"
    retry = True


class Overloaded(UpstreamUnavailable):
    """Ollama's queue or the gateway's connections are full."""

    code = "overloaded"


class AuthUnavailable(UpstreamUnavailable):
    """Whether the key is right, or whether the caller may ask this, could not be found out."""

    code = "auth_unavailable"


class ShuttingDown(UpstreamUnavailable):
    """The gateway is about to stop."""

    code = "shutting_down"


class UpstreamTimeout(GatewayError):
    """Ollama was silent for too long."""

    status = 504
    type = "timeout_error"
    code = "upstream_timeout"


class NotCached(GatewayError):
    """The caller wants the answer from the cache or not at all (`only-if-cached`), and it is not there.

    504 is what RFC 9111 (5.2.1.7) asks for. The code is one of its own: nothing was asked, so nothing timed out.
    """

    status = 504
    type = "timeout_error"
    code = "not_cached"


def error_classes() -> list[type[GatewayError]]:
    """Every class that a caller can meet, in the order of the table in the documentation."""
    found: list[type[GatewayError]] = []
    pending = list(GatewayError.__subclasses__())
    while pending:
        cls = pending.pop(0)
        found.append(cls)
        pending.extend(cls.__subclasses__())
    return sorted(found, key=lambda cls: (cls.status, cls.code))


def _text(given: str) -> str:
    if not isinstance(given, str):
        raise TypeError(f"{type(given).__name__} instead of a text")
    # Half a surrogate pair, which may come from what a caller sent, is not to make another error of this one.
    return given.encode("utf-8", "replace").decode()


def _seconds(given: float) -> float:
    seconds = float(given)
    if not seconds <= _LONGEST_RETRY_SECONDS:  # NaN is no less and no more than anything
        raise ValueError(f"{given!r} is not a number of seconds after which anybody comes again")
    return seconds
