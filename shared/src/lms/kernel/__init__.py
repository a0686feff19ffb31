"""The event-sourcing kernel of LMS: few, deep modules that name no business word."""
