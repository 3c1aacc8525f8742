"""How networks are trained: trainers, gradients, optimisers."""
