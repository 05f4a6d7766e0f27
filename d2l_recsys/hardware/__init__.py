"""What the machine has: its NVIDIA driver and its threads; no MXNet."""
