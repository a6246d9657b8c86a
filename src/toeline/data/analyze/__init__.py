"""Phase 1: what a data set holds, whether it can be trusted, and what it can prove. Reads labels; loads no model."""
