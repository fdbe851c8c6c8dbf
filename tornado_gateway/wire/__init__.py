"""What is said on the wire, and nothing else: values in, values out.

Nothing below here knows a clock, a socket, a random number, a log or the environment; ids, times and limits come in
as arguments. `ollama` is the native form in the middle; each `openai_*` module is a dialect at the edge.
"""
