"""Whether answers are as sure as they say: draws of posteriors held against truths, and what is at fault."""
