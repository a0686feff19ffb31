"""The approvals service: who is asked about leave, and what they decide."""
