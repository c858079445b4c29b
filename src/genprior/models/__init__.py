"""Networks. They know tensors only: no data, no training, no names."""
