"""What tmsync knows. Nothing in here imports a command line or a screen library, prints, or reads a clock by itself."""
