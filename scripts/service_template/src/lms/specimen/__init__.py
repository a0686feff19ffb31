"""The specimen service: what it decides, in one sentence."""
