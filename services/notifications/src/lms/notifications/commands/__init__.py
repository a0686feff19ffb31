"""What notifications does: telling people, and sending the mails."""
