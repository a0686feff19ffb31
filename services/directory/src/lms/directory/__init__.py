"""The directory service: who works here, and who may do what."""
