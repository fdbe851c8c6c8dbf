"""Through a real gateway, with an issuer on loopback."""

import base64
import json
import time

import pytest
from issuer import Issuer, foreign_key, shared_secret
from pydantic import ValidationError
from tornado_gateway_oidc import Oidc


@pytest.fixture
def issuer():
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def serve(gateway, issuer):
    def start(*more, **settings):
        return gateway(plugins=[{"oidc": {"issuer": issuer.url, "audience": ["ollama"], **settings}}, *more])

    return start


def code(answer):
    return (answer.status, answer.json()["error"]["code"]) if answer.status >= 400 else (answer.status, None)


def test_a_token_of_the_issuer_lets_in(serve, issuer):
    served = serve()

    assert served.chat("Hello", key=issuer.token()).status == 200
    assert served.chat("Hello", key=issuer.token(aud=["other", "ollama"])).status == 200
    assert issuer.fetches == 1


WRONG = {
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 120),
    "without an end": lambda issuer: issuer.token(exp=None),
    "not yet valid": lambda issuer: issuer.token(nbf=int(time.time()) + 120),
    "for somebody else": lambda issuer: issuer.token(aud="other"),
    "for nobody": lambda issuer: issuer.token(aud=None),
    "of another issuer": lambda issuer: issuer.token(iss="https://other.example.org"),
    "without a name": lambda issuer: issuer.token(sub=None),
    "with a name that is none": lambda issuer: issuer.token(sub={"a": 1}),
    "signed by another key": lambda issuer: issuer.token(key=foreign_key()),
    "signed with the public key as a secret": lambda issuer: issuer.token(
        key=shared_secret(json.dumps(next(iter(issuer.keys.values())).as_dict(private=False)))
    ),
    "cut": lambda issuer: issuer.token()[:-5],
    "changed": lambda issuer: _changed(issuer.token()),
    "unsigned": lambda issuer: _unsigned(issuer.token()),
    "no token at all": lambda issuer: "tg_somekey",
    "two dots": lambda issuer: "..",
    "not JSON": lambda issuer: "a.b.c",
    "deep": lambda issuer: f"{_b64(b'{}')}.{_b64(b'[' * 5000)}.x",
}


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _changed(token):
    head, claims, signature = token.split(".")
    changed = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "admin"}
    return f"{head}.{_b64(json.dumps(changed).encode())}.{signature}"


def _unsigned(token):
    return f"{_b64(json.dumps({'alg': 'none'}).encode())}.{token.split('.')[1]}."


@pytest.mark.parametrize("wrong", WRONG)
def test_any_other_token_is_refused_with_the_same_words(serve, issuer, fake_ollama, wrong):
    served = serve()

    answer = served.chat("Hello", key=WRONG[wrong](issuer))

    assert code(answer) == (401, "invalid_api_key")
    assert answer.json() == served.get("/v1/models").json()
    assert not fake_ollama.ledger.inference


def test_the_claim_that_names_the_tenant_is_a_setting(serve, issuer):
    served = serve({"rate_limit": {"requests_per_minute": 1}}, tenant_claim="team")

    answers = [served.chat("Hello", key=issuer.token(team=team)) for team in ("red", "blue", "red")]

    assert [answer.status for answer in answers] == [200, 200, 429]


def test_a_claim_may_say_which_models(serve, issuer):
    served = serve(models_claim="models")

    assert served.chat("Hello", key=issuer.token(models=["llama3.2*"])).status == 200
    assert code(served.chat("Hello", key=issuer.token(models=["other"]))) == (404, "model_not_found")
    assert code(served.chat("Hello", key=issuer.token())) == (404, "model_not_found")


def test_a_new_key_of_the_issuer_is_fetched_when_it_is_met(serve, issuer):
    served = serve()
    old = issuer.token()
    assert served.chat("Hello", key=old).status == 200
    keys = served.plugin("oidc")._keys
    served.call(setattr, keys, "_tried", keys._tried - 10)
    issuer.rotate()

    assert served.chat("Hello", key=issuer.token()).status == 200
    assert code(served.chat("Hello", key=old)) == (401, "invalid_api_key")


def test_unknown_keys_make_the_issuer_no_work(serve, issuer):
    served = serve()
    with Issuer() as stranger:
        stranger.rotate()
        unknown = stranger.keys["two"]

    for _ in range(20):
        served.chat("Hello", key=issuer.token(key=unknown))

    assert issuer.fetches == 1


def test_while_the_issuer_is_down_the_known_keys_count(serve, issuer):
    served = serve(keys_seconds=0.001)
    token = issuer.token()
    assert served.chat("Hello", key=token).status == 200
    issuer.broken = True

    assert served.chat("Hello", key=token).status == 200
    assert served.get("/readyz").status == 200


@pytest.mark.parametrize("says", [None, {"keys": []}, {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}, {"nothing": 1}, [1]])
def test_c05_without_keys_nobody_comes_in_and_nobody_is_called_wrong(serve, issuer, fake_ollama, says):
    issuer.broken, issuer.says = says is None, says

    served = serve()

    assert code(served.chat("Hello", key=issuer.token())) == (503, "auth_unavailable")
    assert served.get("/readyz").json()["reason"] == "oidc: the issuer's keys cannot be fetched"
    assert not fake_ollama.ledger.inference


def test_keys_may_be_let_in_beside_tokens(serve, issuer):
    served = serve({"auth": {"keys": [{"name": "robot", "key": "a key"}]}}, alone=False)

    assert served.chat("Hello", key="a key").status == 200
    assert served.chat("Hello", key=issuer.token()).status == 200
    assert served.chat("Hello", key="another").status == 401
    assert served.chat("Hello", key=issuer.token(exp=1)).status == 401


@pytest.mark.parametrize("url", ["http://login.example.org", "ftp://127.0.0.1", "login.example.org"])
def test_an_issuer_that_can_be_impersonated_is_no_setting(url):
    with pytest.raises(ValidationError, match="https"):
        Oidc.Settings(issuer=url, audience=("ollama",))


def test_no_token_is_ever_in_a_log(serve, issuer, caplog):
    token = issuer.token(exp=1)

    serve().chat("Hello", key=token)

    assert token not in caplog.text
