"""The parts of the training loops: losses, history, progress display, checkpoints."""
