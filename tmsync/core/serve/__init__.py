"""`tmsync serve`: Tesla's API for TWCManager, answered from TeslaMate while it is trusted, else forwarded to Tesla."""
