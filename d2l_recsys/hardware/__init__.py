"""The NVIDIA driver and the threads of the machine. Needs no MXNet."""
