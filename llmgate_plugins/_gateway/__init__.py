"""The parts of a gateway: how calls are made through it, what it tells of them, and what it is told."""
