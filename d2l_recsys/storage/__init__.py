"""Write files completely or not at all, and read and write archives of arrays."""
