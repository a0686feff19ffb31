"""The views of notifications: people, what requests ask for, and who is asked to decide."""
