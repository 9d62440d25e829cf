"""What the errors of real servers mean: bodies as they send them."""

import json

import pytest

from promptmill import errors
from promptmill.endpoints.link import Link
from promptmill.endpoints.statuses import class_of, status_in
from promptmill.endpoints.transport import Reply

LONG_VLLM = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
GEMINI = "You exceeded your current quota, please check your plan and billing details."


def openai_error(message="no", **fields):
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, openai_error("Rate limit reached"), errors.RateLimited),
        (429, openai_error(code="insufficient_quota"), errors.QuotaSpent),
        (429, openai_error(GEMINI), errors.QuotaSpent),
        (429, openai_error(GEMINI + " Please retry in 34.07s."), errors.RateLimited),
        (429, openai_error("Quota exceeded for this account, see billing."), errors.QuotaSpent),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, errors.RateLimited),
        (402, {}, errors.QuotaSpent),
        (402, openai_error("Insufficient Balance"), errors.QuotaSpent),
        (403, openai_error("Your credit balance is too low"), errors.QuotaSpent),
        (400, openai_error("Your credit balance is too low to access the API."), errors.QuotaSpent),
        (400, openai_error("What is a credit balance?"), errors.Refused),
        (401, openai_error("wrong key"), errors.AuthFailed),
        (403, "<html>no</html>", errors.Forbidden),
        (403, openai_error("This model requires moderation and your input was flagged"), errors.Filtered),
        (503, openai_error("Loading model"), errors.Overloaded),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, errors.Overloaded),
        (500, openai_error(), errors.Unavailable),
        (502, "bad gateway", errors.Unavailable),
        (507, {}, errors.Unavailable),
        (504, "", errors.Timeout),
        (408, "", errors.Timeout),
        (424, {"error": "Request failed during generation", "error_type": "generation"}, errors.Unavailable),
        (400, openai_error(code="context_length_exceeded"), errors.TooLong),
        (400, openai_error(LONG_VLLM, type="BadRequestError", code=400), errors.TooLong),
        (400, {"object": "error", "message": LONG_VLLM, "code": 400}, errors.TooLong),
        (400, openai_error("The decoder prompt is longer than the maximum model length of 8"), errors.TooLong),
        (400, openai_error("The input (9 tokens) is longer than the model's context length (8)"), errors.TooLong),
        (400, openai_error(type="exceed_context_size_error", code=400), errors.TooLong),
        (400, openai_error("the request exceeds the available context size, try increasing it"), errors.TooLong),
        (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8"}, errors.TooLong),
        (413, openai_error("prompt is too long: 200251 tokens > 199999 maximum"), errors.TooLong),
        (
            400,
            openai_error("The input token count (9) exceeds the maximum number of tokens allowed (8)"),
            errors.TooLong,
        ),
        (500, openai_error("maximum context length"), errors.Unavailable),
        (413, "Request Entity Too Large", errors.Refused),
        (400, openai_error(code="content_filter"), errors.Filtered),
        (400, openai_error(code="content_policy_violation"), errors.Filtered),
        (400, openai_error(code=None, innererror={"code": "ResponsibleAIPolicyViolation"}), errors.Filtered),
        (400, openai_error(param="x"), errors.Refused),
        (404, "[1", errors.Refused),
        (302, "", errors.Refused),
        (204, "", errors.Unavailable),
    ],
)
def test_every_error_has_its_class(status, body, expected):
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert class_of(status, content) is expected


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (openai_error(code=429), 429, errors.RateLimited),
        (openai_error(code="503"), 503, errors.Overloaded),
        (openai_error(code="rate_limit_exceeded"), 429, errors.RateLimited),
        (openai_error(code="insufficient_quota"), 402, errors.QuotaSpent),
        (openai_error(type="overloaded_error"), 503, errors.Overloaded),
        (openai_error(code="context_length_exceeded"), 400, errors.TooLong),
        (openai_error(code="content_filter"), 400, errors.Filtered),
        (openai_error(LONG_VLLM, code=400), 400, errors.TooLong),
        (openai_error(type="server_error"), 500, errors.Unavailable),
        (openai_error(code="invalid_api_key"), 401, errors.AuthFailed),
        (openai_error(code="strange"), None, errors.Unavailable),
        (openai_error(code=200), None, errors.Unavailable),
        (openai_error(code=True), None, errors.Unavailable),
        ({"error": None, "code": 400}, None, errors.Unavailable),
        ({"error": "no", "code": "٤٠٠"}, None, errors.Unavailable),
        ([1], None, errors.Unavailable),
    ],
)
def test_an_error_in_the_body_of_a_200_has_the_class_of_its_code(body, status, expected):
    content = json.dumps(body).encode()
    assert status_in(content) == status
    link = Link("http://x", api_key_env=None, timeout_s=1, transport=None)
    with pytest.raises(errors.EndpointError) as caught:
        link.read(Reply(200, {}, content), dict[str, int])
    assert type(caught.value) is expected
    assert caught.value.sent == (status is None)
    assert caught.value.__context__ is None


def test_a_wait_comes_along_with_every_class_and_only_a_gateway_that_gave_up_may_cost():
    link = Link("http://x", api_key_env=None, timeout_s=1, transport=None)
    for status in (429, 503, 529, 500, 504, 402):
        with pytest.raises(errors.EndpointError, match=f"http://x: {status}") as caught:
            link.fail(Reply(status, {"retry-after": "7"}, b""))
        assert caught.value.retry_after_s == 7.0
        assert caught.value.sent == (status == 504)
