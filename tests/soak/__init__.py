"""Hours of simulated traffic through real servers: `python -m tests.soak.run` (`make soak`)."""
