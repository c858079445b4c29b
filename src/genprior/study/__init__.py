"""The statements of the lab report as experiments, each with its verdict, on one page."""
