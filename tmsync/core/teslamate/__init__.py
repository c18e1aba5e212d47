"""TeslaMate's API tokens: the row, its encryption, and what the tokens say of themselves."""
