"""A trained prior as files that run without this package. Knows priors and run folders."""
