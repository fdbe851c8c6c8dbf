"""What the gateway costs, beside what people would take instead. Run it with `make bench`; what it shows stands in docs/performance.md."""
