"""One thin module per subcommand: options in, core called, result rendered, exit code out."""
