"""The read models of specimen."""
