"""How to learn: recipes, optimizers, schedules, the one loop, checkpoints, several processes."""
