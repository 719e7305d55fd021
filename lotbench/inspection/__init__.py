"""Which tokens a trained model processes, layer by layer: for one text, or over a split."""
