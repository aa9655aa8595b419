"""How big a collection is and what its memory costs."""
