"""Dense chains: losses and gradients of K stacked members by batched products and a backward pass written out."""
