"""Carries out what the engine decides: the only place that waits, sleeps and runs threads."""
