"""The use cases of the directory. They supply time and ids, and claim what spans several streams."""
