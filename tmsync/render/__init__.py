"""Results in, text out: Rich tables, plain lines, JSON."""
