"""Whether training is healthy: signs in the record, verdicts, probes."""
