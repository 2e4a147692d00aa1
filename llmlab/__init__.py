"""llmlab: every claim of mid- and post-training is an experiment."""
