"""Who lives in the simulated Ollama: its models, what it was told to do, what it saw. One value that all parts share."""

from __future__ import annotations

from dataclasses import dataclass, field

from tornado_gateway.testing.behaviour import NOTHING, Behaviour, Script
from tornado_gateway.testing.ledger import Ledger
from tornado_gateway.testing.models import FakeModel, canonical_name, is_cloud
from tornado_gateway.testing.refusals import CLOUD_OFF, Refusal, unknown_model
from tornado_gateway.testing.runners import Runners


@dataclass(slots=True)
class House:
    """`models` is by canonical name; `defaults` is how every request to a model is answered unless the script says more."""

    ledger: Ledger
    runners: Runners
    script: Script = field(default_factory=Script)
    models: dict[str, FakeModel] = field(default_factory=dict)
    defaults: Behaviour = NOTHING
    version: str = "0.33.0"
    context_length: int = 4096
    cloud: bool = False

    def add(self, model: FakeModel) -> None:
        """Add a model, or put another in the place of the one of that name (a new digest: pulled again)."""
        self.models[canonical_name(model.name)] = model

    def remove(self, name: str) -> None:
        """Forget a model. Raises `KeyError` for one that is not there."""
        self.runners.unload(self.models.pop(canonical_name(name)))

    def find(self, name: str, endpoint: str, cloud_text: str = CLOUD_OFF) -> FakeModel:
        """The model that a request names. Raises `Refusal` in the endpoint's own words."""
        if not name:
            raise Refusal(400, "model is required") if endpoint == "/api/chat" else unknown_model(name, endpoint)
        canonical = canonical_name(name)
        model = self.models.get(canonical)
        remote = is_cloud(canonical) or (model is not None and bool(model.remote_host))
        if remote and not self.cloud:
            raise Refusal(403, cloud_text)
        if model is None:
            raise unknown_model(canonical if endpoint == "/api/show" else name, endpoint)
        return model
