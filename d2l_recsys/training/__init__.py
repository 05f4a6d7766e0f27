"""What the training loops are made of: losses, history, progress, checkpoints."""
