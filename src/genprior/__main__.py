"""`python -m genprior` is `genprior`."""

from genprior.cli import main

if __name__ == "__main__":
    main()
