"""`python -m tornado_gateway`: the same program as `tornado-gateway`."""

from tornado_gateway.cli import main

if __name__ == "__main__":
    main()
