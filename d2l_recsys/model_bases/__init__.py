"""What the rest of the package can ask of a model, whether a Gluon net or a closed form."""
