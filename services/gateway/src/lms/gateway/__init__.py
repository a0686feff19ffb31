"""The gateway: the one door to LMS."""
