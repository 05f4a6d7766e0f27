"""From arrays to minibatches; numpy alone."""
