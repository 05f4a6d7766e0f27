"""The systems of a tutorial on recommender systems, each as its code computes it."""
