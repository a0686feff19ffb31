"""The views of approvals."""
