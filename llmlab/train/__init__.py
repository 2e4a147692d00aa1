"""Training: one loop for every method, rollouts, sampling, probes."""
