"""The service `requests`: the leave book, and the process of every request in it."""
