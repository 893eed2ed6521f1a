"""Learning generators: the loop, its data, losses and checkpoints, and a recipe for each system."""
