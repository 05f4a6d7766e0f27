"""How good a model is: metrics, and the passes over held-out data that compute them."""
