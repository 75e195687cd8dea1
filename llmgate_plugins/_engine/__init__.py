"""Decides, never does: generators that yield effects and are sent their results."""
