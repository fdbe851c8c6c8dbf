"""A gateway that makes Ollama speak OpenAI, for many people at once."""

__version__ = "0.1.0"
