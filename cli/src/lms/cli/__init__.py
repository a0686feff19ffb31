"""The `lms` command: the embedded system and the operator's tools."""
