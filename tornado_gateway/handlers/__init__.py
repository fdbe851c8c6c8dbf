"""The HTTP face: Tornado's request handlers, a file a family of routes."""
