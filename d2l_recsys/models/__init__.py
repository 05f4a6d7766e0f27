"""What every model offers, whatever it is made of."""
