"""What every model offers, Gluon net or closed form. The models are in the chapters."""
