"""Commands of the repository: contracts, diagram, a new service."""
