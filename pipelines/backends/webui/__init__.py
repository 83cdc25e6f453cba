"""SD.Next and A1111 (Forge): one API with two dialects."""
