"""The processor, and what is set up before MXNet is imported: driver, threads, slow modules."""
