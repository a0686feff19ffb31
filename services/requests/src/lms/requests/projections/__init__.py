"""The views of requests: foreign facts, and the requests themselves."""
