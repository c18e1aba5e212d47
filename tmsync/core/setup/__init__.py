"""Setting tmsync up: what other programs' files tell, trials of what was answered, and the file that comes of it."""
