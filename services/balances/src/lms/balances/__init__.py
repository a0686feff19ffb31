"""The balances service: leave accounts, leave types and policies."""
