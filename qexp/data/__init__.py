"""What is searched: points, queries, labels and their exact neighbours."""
