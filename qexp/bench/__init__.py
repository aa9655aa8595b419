"""How fast and how right a search is."""
