"""What data there is: fetched, found, checked and read; no MXNet."""
