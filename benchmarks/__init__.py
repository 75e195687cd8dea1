"""What llmgate costs, measured beside what a user would pick instead, in one interleaved run."""
