"""`make soak`: the gateway as a process, with all its plugins, under loads that go on: L2, L4, L7, L8 and L9 of docs/reliability.md."""
