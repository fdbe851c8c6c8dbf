"""An issuer of tokens on loopback: discovery, keys, and whatever can be wrong with them."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey


class Issuer:
    def __init__(self):
        self.keys = {"one": ECKey.generate_key("P-256", {"kid": "one"})}
        self.requests = []
        self.broken = False
        self.says = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests.append(self.path)
                body = json.dumps(issuer._answer(self.path)).encode()
                self.send_response(500 if issuer.broken else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, path):
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if self.says is not None:
            return self.says
        return {"keys": [key.as_dict(private=False) for key in self.keys.values()]}

    @property
    def fetches(self):
        return self.requests.count("/keys")

    def rotate(self):
        self.keys = {"two": RSAKey.generate_key(2048, {"kid": "two"})}

    def token(self, *, key=None, algorithm=None, header=None, **claims):
        key = key or next(iter(self.keys.values()))
        algorithm = algorithm or {"EC": "ES256", "RSA": "RS256", "oct": "HS256"}[key.key_type]
        given = {"iss": self.url, "aud": "ollama", "sub": "alice", "exp": int(time.time()) + 60, **claims}
        given = {name: value for name, value in given.items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": key.kid, **(header or {})}, given, key, algorithms=[algorithm])


def foreign_key():
    return ECKey.generate_key("P-256", {"kid": "one"})


def shared_secret(text):
    return OctKey.import_key(text, {"kid": "one"})
