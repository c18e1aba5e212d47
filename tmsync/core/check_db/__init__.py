"""check-db: the ladder of checks, what each failure means, and the report."""
