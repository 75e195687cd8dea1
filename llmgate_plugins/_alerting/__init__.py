"""From what watches to the channels that tell: each alert once while it goes on, and its end."""
